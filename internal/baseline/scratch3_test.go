package baseline

import "testing"
import "time"
import "os"
import "fmt"

func TestScratchSAS(t *testing.T) {
	ds, split := beauty(t)
	n := ds.Catalog.Len()
	log := newTrainLog(split, n)
	valid := sample(split.Valid, 5000)
	c := SASRecConfig{Dim: 64, Blocks: 2, Heads: 2, Inner: 64, MaxLen: 50, Dropout: .5, Rate: .002, Batch: 1024, Negatives: 1024, Epochs: 40, Patience: 4}
	fmt.Sscan(os.Getenv("SAS"), &c.Epochs, &c.Rate, &c.Batch, &c.Dropout, &c.Inner, &c.Negatives)
	f := newSASRecFit(log, c, 1)
	say("%+v windows %d", c, len(f.windows))
	for e := range c.Epochs {
		t0 := time.Now()
		l := f.epoch(e)
		t1 := time.Since(t0)
		if e%3 != 2 && e != 0 {
			continue
		}
		m := f.model.frozen()
		say("%d loss %.4f V %v   %v %v", e+1, l, Evaluate(m, valid, n, false), t1, time.Since(t0))
	}
	m := f.model.frozen()
	say("V %v T %v", Evaluate(m, split.Valid, n, false), Evaluate(m, split.Test, n, false))
}

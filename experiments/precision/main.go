// Command precision prints what the runs of run.sh came to:
//
//	go run ./experiments/precision
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const folder = "experiments/precision"

// report is the part of a run's report that the table shows.
type report struct {
	Rows []struct {
		Policy, Slice string
		Metrics       map[string]float64
	}
}

func main() {
	log.SetFlags(0)
	files, err := filepath.Glob(filepath.Join(folder, "float32-?.json"))
	if err != nil || len(files) == 0 {
		log.Fatal("no " + folder + "/float32-?.json: run " + folder + "/run.sh, from the root of the repository")
	}
	fmt.Println("synthetic market, test, conditional; midtrain: mean loss of the last 100 steps; sft: best validation")
	fmt.Printf("%4s  %-8s %14s %12s %10s %10s %10s\n", "seed", "way", "midtrain loss", "sft N@3", "test R@1", "test N@3", "test AUC")
	for _, file := range files {
		seed := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "float32-"), ".json")
		for _, way := range []string{"float32", "bf16", "int8"} {
			print(seed, way)
		}
	}
}

func print(seed, way string) {
	loss, valid := "", "" // weights of eight bits are no other training
	if way != "int8" {
		loss = fmt.Sprintf("%.4f", meanLoss(path(way, seed+"-midtrain.jsonl")))
		valid = fmt.Sprintf("%.4f", bestValid(path(way, seed+"-sft.jsonl")))
	}
	var r report
	b, err := os.ReadFile(path(way, seed+".json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range r.Rows {
		if row.Policy == "sft" && row.Slice == "conditional" {
			m := row.Metrics
			fmt.Printf("%4s  %-8s %14s %12s %10.4f %10.4f %10.4f\n", seed, way, loss, valid, m["R@1"], m["N@3"], m["AUC"])
		}
	}
}

func path(way, rest string) string { return filepath.Join(folder, way+"-"+rest) }

// line is a row of a training's metrics.jsonl.
type line struct {
	Loss  *float64
	Valid map[string]float64
}

func lines(path string, visit func(line)) {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			log.Fatalf("%s: %v", path, err)
		}
		visit(l)
	}
}

func meanLoss(path string) float64 {
	sum, n := 0.0, 0
	lines(path, func(l line) {
		if l.Loss != nil {
			sum, n = sum+*l.Loss, n+1
		}
	})
	return sum / float64(n)
}

func bestValid(path string) (best float64) {
	lines(path, func(l line) { best = max(best, l.Valid["N@3"]) })
	return best
}

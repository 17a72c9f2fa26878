package fit
import ("testing";"time";"runtime")
func TestZZ(t *testing.T) {
	s := bazaar(2_000_000, 64)
	for _, bal := range []bool{false,true} {
	at := time.Now()
	q, err := RQKMeans(s.latent, Options{Seed: 1, Balanced: bal})
	if err != nil { t.Fatal(err) }
	t.Log("fit 200k", bal, time.Since(at))
	for _, rule := range Rules {
		if bal && rule != Nearest {continue}
		at := time.Now()
		codes,_ := Assign(q, s.latent, s.ids, AssignOptions{Rule: rule, Seed: 1})
		d := time.Since(at)
		seen := map[uint64]int{}
		for i := 0; i < len(codes); i += 4 { seen[pack(codes[i:i+4])]++ }
		u := 0
		for _, n := range seen { if n==1 {u++} }
		var m runtime.MemStats; runtime.ReadMemStats(&m)
		t.Log(rule, d, "unique", float64(u)/2e6, "sys MB", m.Sys>>20)
	}
	}
}

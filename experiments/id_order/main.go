// Command id_order prints what the id-order probe found under each numbering:
//
//	go run ./experiments/id_order
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// measures is the part of baseline/measures.json that the table shows.
type measures struct {
	IDOrder map[string]map[string]struct {
		Rules []struct {
			Rule      string
			N         int
			Advantage struct{ Value float64 }
			Deviation float64
		}
	} `json:"id_order"`
}

func main() {
	log.SetFlags(0)
	files, err := filepath.Glob("experiments/id_order/numbering-*.json")
	if err != nil || len(files) == 0 {
		log.Fatal("no experiments/id_order/numbering-*.json: run experiments/id_order/run.sh, from the root of the repository")
	}
	fmt.Printf("%-9s %-7s %-6s %-18s %6s %10s %10s\n", "numbering", "order", "split", "rule", "n", "advantage", "deviation")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		var m measures
		if err := json.Unmarshal(b, &m); err != nil {
			log.Fatalf("%s: %v", file, err)
		}
		numbering := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "numbering-"), ".json")
		for _, order := range []string{"sasrec", "bpr"} {
			for _, split := range []string{"valid", "test"} {
				for _, r := range m.IDOrder[order][split].Rules {
					deviation := "-" // of rules of ids, which no numbering changes
					if strings.HasPrefix(r.Rule, "number") {
						deviation = fmt.Sprintf("%+.2f", r.Deviation)
					}
					fmt.Printf("%-9s %-7s %-6s %-18s %6d %+10.4f %10s\n", numbering, order, split, r.Rule, r.N, r.Advantage.Value, deviation)
				}
			}
		}
	}
}

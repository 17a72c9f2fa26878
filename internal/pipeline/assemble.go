package pipeline

import (
	"context"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/prompt"
)

// Names of the stages, in order; each is a folder of the run.
const (
	StageCatalog   = "catalog"
	StageBaseline  = "baseline"
	StageEvidence  = "evidence"
	StageEmbed     = "embed"
	StageSID       = "sid"
	StageTokenizer = "tokenizer"
	StageMidtrain  = "midtrain"
	StageSFT       = "sft"
	StageRL        = "rl" // left out where rl.steps is 0
	StageEval      = "eval"
)

// Stages are the names of all stages, in order.
func Stages() []string {
	return []string{StageCatalog, StageBaseline, StageEvidence, StageEmbed, StageSID, StageTokenizer, StageMidtrain, StageSFT, StageRL, StageEval}
}

// policyStages are the stages that leave a policy, in order; the last one's serves.
func (o *Options) policyStages() []string {
	if o.RL.Steps > 0 {
		return []string{StageSFT, StageRL}
	}
	return []string{StageSFT}
}

// assemble builds the stage graph of a job. embedder identifies its text
// embedder.
func assemble(job *Job, embedder string) (*graph, error) {
	input, err := dataMark(job.DataDir)
	if err != nil {
		return nil, err
	}
	w := newWorld(job)
	o := &job.Options
	seeded := func(section any) any { return []any{o.Seed, section} }
	g := &graph{root: job.Root, notify: w.notify}
	add := func(name string, config any, run func(context.Context, string) error, needs ...string) {
		g.stages = append(g.stages, stage{name: name, needs: needs, config: config, run: run})
	}
	add(StageCatalog, seeded([]any{input, o.Data}), w.catalogStage)
	add(StageBaseline, seeded(o.Slates), w.baselineStage, StageCatalog)
	add(StageEvidence, o.promptOptions(), w.evidenceStage, StageBaseline)
	add(StageEmbed, seeded(embedder), w.embedStage, StageCatalog)
	add(StageSID, seeded(o.SID), w.sidStage, StageEmbed, StageCatalog)
	add(StageTokenizer, []any{o.Tokenizer, o.promptOptions()}, w.tokenizerStage, StageSID)
	add(StageMidtrain, seeded([]any{o.Model, o.Midtrain}), w.midtrainStage, StageTokenizer, StageSID, StageCatalog)
	add(StageSFT, seeded([]any{o.SFT, o.Midtrain.UserShare, o.Eval.Decode}), w.sftStage, StageMidtrain, StageEvidence, StageBaseline)
	if o.RL.Steps > 0 {
		add(StageRL, seeded([]any{o.RL, o.slateChoice(), o.SFT.Pointer, o.SFT.JudgeLayers, o.Eval.Decode}), w.rlStage,
			o.RL.From, StageEvidence, StageBaseline)
	}
	add(StageEval, seeded(o.Eval), w.evalStage, o.policyStages()...)
	return g, nil
}

// datasetManifest marks a dataset folder; see market.Save.
const datasetManifest = "manifest.json"

// dataMark identifies the content of a dataset folder: its manifest holds the
// hashes of its files.
func dataMark(dir string) (File, error) {
	path := filepath.Join(dir, datasetManifest)
	if _, err := os.Stat(path); err != nil {
		return File{}, fault.Inputf("%s is not a dataset folder (no %s): make one with gr2 data import", dir, datasetManifest)
	}
	return hashFile(path)
}

// promptOptions are the prompt's with the evidence names filled in.
func (o *Options) promptOptions() prompt.Options {
	p := o.Prompt
	if len(p.EvidenceNames) == 0 {
		p.EvidenceNames = evidence.PromptNames()
	}
	return p
}

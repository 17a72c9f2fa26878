package rerank

// Names inside a run folder. The pipeline writes them, Open reads them.
const (
	CatalogDir = "catalog" // a market dataset folder; only its items are read

	SIDDir   = "sid"
	SIDIndex = "index.sid" // in SIDDir

	EvidenceDir     = "evidence"
	EvidenceStats   = "stats.bin"    // in EvidenceDir
	EvidenceBuckets = "buckets.json" // in EvidenceDir

	// ModelDir is in the folder of a training stage: RUN/sft/model. It is a
	// Hugging Face directory.
	ModelDir      = "model"
	TokenizerFile = "tokenizer.json" // in ModelDir

	CardFile = "prompt.json" // see Card; written last, by Seal
)

// Package token is a byte-level BPE tokenizer that trains, reads and writes
// Hugging Face tokenizer.json files.
//
// A text is cut at added tokens (chat marks, semantic IDs), the rest into
// chunks by the rule of the file's family (Llama 3, Qwen 2, GPT-2; see
// pattern), and each chunk is spelled in bytes and merged, lowest rank first
// and leftmost first. Encode equals Hugging Face's encode with
// add_special_tokens=False; a golden file made by their library guards that.
//
// Guarantees: Decode(Encode(s)) == s for every string, valid UTF-8 or not,
// when the vocabulary spells all 256 bytes and the file has no normaliser
// (Train always makes such). Text that goes through EncodeText can never
// become an added token. Training is deterministic and depends on the corpus
// only as a multiset of chunks. A Tokenizer is safe for concurrent use.
//
// Token ids: the BPE vocabulary first (256 bytes, then merges in the order
// learnt), then the added tokens in the order given.
//
// Letters, digits and spaces are those of Go's Unicode tables; a code point
// assigned after the tables of the library that made a file may be cut
// differently there.
package token

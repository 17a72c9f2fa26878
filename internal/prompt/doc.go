// Package prompt turns a slate into chat tokens, and an assistant's tokens
// back into a ranking or the reason why they are none.
//
// Layout (docs/prompt.md shows one whole):
//
//	<|im_start|>system
//	...<|im_end|>
//	<|im_start|>user
//	[History, newest first:]
//	item [<|day_b|>]
//	[Candidates:]
//	[number] item [<|rank_r|>] [<|name_code|>...] [number]
//	<|im_end|>
//	<|im_start|>assistant
//	[<think>trace</think>]{"ranking":[3,1,2]}<|im_end|>
//
// where item is "<s_a_1><s_b_2>... Title | Brand | Category", the same for
// history and candidates. Every part is a switch of Options.
//
// Guarantees. A prompt's tokens are what its text encodes to as a whole (for
// the Llama 3 and Qwen 2 pre-tokenizers), so an engine that gets the text sees
// the same tokens. Catalog text and traces never become control tokens. An
// over-long prompt is cut in a fixed order and the cut reported. Every output
// of Grammar parses; Parse gives no partial credit. Item numbers, ids and file
// order never reach a prompt: candidates carry the number of their place.
//
// Places of a ranking count from 0 in Go and from 1 in text.
package prompt

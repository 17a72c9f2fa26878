// Package endpoint embeds texts by an OpenAI-compatible embeddings endpoint:
// OpenAI's own, or one of vLLM, SGLang, llama.cpp, Ollama, TEI and their like.
//
// Texts go out in batches, several at a time. What may pass is tried again with
// growing pauses: a connection that fails, status 408, 429 and 5xx. What will
// not pass is said at once. A reply is believed in nothing: count, indices,
// lengths and numbers are checked. The API key is sent to the endpoint alone,
// through no redirection, and stands in no message.
package endpoint

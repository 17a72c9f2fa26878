// Package encoder embeds texts by a sentence encoder: a decoder of the Llama or
// Qwen family in a Hugging Face directory, whose hidden states are pooled and
// scaled to unit length.
//
// Where sentence-transformers has left its files (modules.json,
// 1_Pooling/config.json, sentence_bert_config.json,
// config_sentence_transformers.json), the vectors are those of its encode with
// normalisation, up to rounding, but for two things: what looks like a special
// token in a text is text, and a text of white space alone gets zeros. What those
// files ask for and is not here (further modules, other poolings) is refused by
// name.
package encoder

// Package embed turns text into dense vectors, one row a text.
package embed

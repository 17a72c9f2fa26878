// Package config composes the configuration of a run: a preset, then a YAML
// file, then --set key=value, each overriding the one before. An unknown key
// is an error that names the nearest known one.
package config

// Package quality measures what semantic IDs are worth: how codes are shared
// and used, and what items below one prefix have in common.
package quality

package market

import "strings"

var kindNames = [...]string{View: "view", Click: "click", Purchase: "purchase", Rating: "rating"}

// String is the kind's name in files: view, click, purchase or rating.
func (k EventKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// ParseKind reads the name of a kind, in any letter case.
func ParseKind(name string) (EventKind, bool) {
	for k, n := range kindNames {
		if strings.EqualFold(n, name) {
			return EventKind(k), true
		}
	}
	return 0, false
}

package market

import "fmt"

// MaxTime is the first moment that no log can hold: the year 2100 in Unix
// seconds. Times in milliseconds lie beyond it.
const MaxTime = 4102444800

// CheckTime says what is wrong with a time in Unix seconds, nil when nothing.
func CheckTime(t int64) error {
	switch {
	case t < 0:
		return fmt.Errorf("time %d is before 1970; give Unix seconds", t)
	case t >= MaxTime:
		return fmt.Errorf("time %d is after the year 2099; give Unix seconds, not milliseconds", t)
	}
	return nil
}

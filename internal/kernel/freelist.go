package kernel

import "sync"

// freelist recycles objects so that a steady state allocates nothing. Unlike a
// sync.Pool it never drops any, so it holds as many as were ever in use at once.
type freelist[T any] struct {
	mu    sync.Mutex
	items []*T
}

// get returns a recycled object, or nil when there is none.
func (f *freelist[T]) get() *T {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.items)
	if n == 0 {
		return nil
	}
	item := f.items[n-1]
	f.items = f.items[:n-1]
	return item
}

func (f *freelist[T]) put(item *T) {
	f.mu.Lock()
	f.items = append(f.items, item)
	f.mu.Unlock()
}

// grow returns a slice of n elements, s itself when it has the room. The old
// contents are lost.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

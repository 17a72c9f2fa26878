package nn

import (
	"sync"

	"github.com/gr2/gr2/internal/kernel"
)

// scratch lends each running task a buffer of its own. Which one it gets does
// not matter: tasks overwrite before they read.
type scratch struct {
	mu   sync.Mutex
	size int
	free [][]float32
}

// fill takes a buffer of size elements for as many tasks as can run at once.
func (s *scratch) fill(mem *arena, size, tasks int) {
	s.size, s.free = size, s.free[:0]
	for range min(tasks, kernel.Threads()) {
		s.free = append(s.free, mem.take(size))
	}
}

func (s *scratch) take() []float32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.free) - 1
	if n < 0 {
		return make([]float32, s.size) // the thread bound was raised meanwhile
	}
	b := s.free[n]
	s.free = s.free[:n]
	return b
}

func (s *scratch) give(b []float32) {
	s.mu.Lock()
	s.free = append(s.free, b)
	s.mu.Unlock()
}

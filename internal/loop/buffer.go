package loop

// Buffers are kept by size class, so that a connection holds one only while it is at work.
const (
	SmallBuffer = 4 << 10
	LargeBuffer = 64 << 10

	bufferClasses = 2
	maxKept       = 256 // of each class
)

// Get returns a buffer of SmallBuffer or LargeBuffer bytes, whichever holds n (n <= LargeBuffer).
func (l *Loop) Get(n int) []byte {
	class, size := 0, SmallBuffer
	if n > SmallBuffer {
		class, size = 1, LargeBuffer
	}
	kept := l.buffers[class]
	if len(kept) == 0 {
		return make([]byte, size)
	}
	b := kept[len(kept)-1]
	l.buffers[class] = kept[:len(kept)-1]
	return b
}

// Put gives a buffer back. The caller must hold no view of it. Buffers of other sizes are left to the collector.
func (l *Loop) Put(b []byte) {
	var class int
	switch cap(b) {
	case SmallBuffer:
	case LargeBuffer:
		class = 1
	default:
		return
	}
	if len(l.buffers[class]) < maxKept {
		l.buffers[class] = append(l.buffers[class], b[:cap(b)])
	}
}

package loop

// Buffers are kept by size class, so that a connection holds one only while it is at work.
const (
	TinyBuffer  = 512
	SmallBuffer = 4 << 10
	LargeBuffer = 64 << 10

	bufferClasses = 3
)

// bufferSizes are the classes, and maxKept how many of each are kept for reuse: at most 17.5 MiB together.
var (
	bufferSizes = [bufferClasses]int{TinyBuffer, SmallBuffer, LargeBuffer}
	maxKept     = [bufferClasses]int{1024, 256, 256}
)

// Get returns a buffer of the smallest class that holds n bytes (n <= LargeBuffer).
func (l *Loop) Get(n int) []byte {
	class := 0
	for n > bufferSizes[class] {
		class++
	}
	kept := l.buffers[class]
	if len(kept) == 0 {
		return make([]byte, bufferSizes[class])
	}
	b := kept[len(kept)-1]
	l.buffers[class] = kept[:len(kept)-1]
	return b
}

// Put gives a buffer back. The caller must hold no view of it. Buffers of other sizes are left to the collector.
func (l *Loop) Put(b []byte) {
	for class, size := range bufferSizes {
		if cap(b) == size && len(l.buffers[class]) < maxKept[class] {
			l.buffers[class] = append(l.buffers[class], b[:size])
		}
	}
}

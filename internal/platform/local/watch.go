package local

import (
	"maps"
	"os"
	"syscall"
	"time"
)

// fileMark is what changes when a file does. Files are looked at, not subscribed to: that works alike for
// editors that replace files, for links that are switched (as those of a Kubernetes ConfigMap) and on every
// file system.
type fileMark struct {
	inode    uint64
	size     int64
	modified time.Time
}

type fileMarks map[string]fileMark

func marksOf(paths []string) fileMarks {
	marks := make(fileMarks, len(paths))
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			marks[p] = fileMark{} // one that is missing changes when it comes
			continue
		}
		m := fileMark{size: info.Size(), modified: info.ModTime()}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			m.inode = sys.Ino
		}
		marks[p] = m
	}
	return marks
}

// watch tells when files have changed and are no longer being written.
type watch struct{ loaded, last fileMarks }

// newWatch begins with the files as they are in marks, which were taken before the files were read: what was
// written meanwhile is a change. Files that marks does not have begin as they are now.
func newWatch(marks fileMarks, paths []string) *watch {
	loaded := marksOf(paths)
	for p, m := range marks {
		if _, ok := loaded[p]; ok {
			loaded[p] = m
		}
	}
	return &watch{loaded: loaded, last: loaded}
}

// settled reports whether the files differ from those loaded, but not from when it last looked: an editor
// that writes in several steps has done.
func (w *watch) settled(paths []string) bool {
	now := marksOf(paths)
	same := maps.Equal(now, w.last)
	w.last = now
	return same && !maps.Equal(now, w.loaded)
}

// watched are the files that a gateway is made of.
func (e *edge) watched() []string {
	paths, err := e.o.Paths()
	if err != nil {
		paths = nil // a directory that is gone: what it held is seen as missing
	}
	return append(paths, e.files...)
}

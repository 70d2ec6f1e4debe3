package app

import (
	"io"
	"sync"
	"time"
)

// logWriter hands lines on to w in batches: under load a write(2) for each line costs as much as the rest of the line,
// and all who write one wait for it. The first line after a pause goes out at once, those that follow within logPause
// together. A gateway that is killed loses no more than that; what is told in the log was done before in any case.
type logWriter struct {
	w     io.Writer
	more  chan struct{} // there is something in lines
	end   chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	lines []byte
	err   error
}

const (
	logPause = 5 * time.Millisecond
	// logBatch is how much may wait. Whoever comes then writes it out itself: a log that can't keep up slows the
	// gateway down, and is not cut.
	logBatch = 1 << 20
)

func newLogWriter(w io.Writer) *logWriter {
	l := &logWriter{w: w, more: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
	go l.run()
	return l
}

// Write takes whole lines. Its error is that of an earlier one.
func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, p...)
	if len(l.lines) > logBatch {
		l.flush()
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
	return len(p), l.err
}

// flush writes out what waits. The lock is held: lines keep their order.
func (l *logWriter) flush() {
	if len(l.lines) > 0 {
		_, l.err = l.w.Write(l.lines)
		l.lines = l.lines[:0]
	}
}

func (l *logWriter) run() {
	defer close(l.ended)
	for {
		select {
		case <-l.more:
		case <-l.end:
			return
		}
		l.mu.Lock()
		l.flush()
		l.mu.Unlock()
		select {
		case <-time.After(logPause):
		case <-l.end:
			return
		}
	}
}

// Close writes out what waits. Lines that come later go to w at once.
func (l *logWriter) Close() {
	close(l.end)
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

package pdf

import (
	"context"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// Bounds of object streams.
const (
	maxInStream = 100_000 // objects in one
	maxFirst    = 8 << 20 // octets of the table at its start
)

// section is one object stream among all that were unpacked.
type section struct {
	at    place // of the stream in the file
	start int64 // of its octets
	first int64 // of its objects, from there
}

// unpackObjects unpacks the object streams behind one another into one file, and indexes their objects (ISO
// 32000-1 7.5.7).
func (w *walker) unpackObjects() error {
	if len(w.containers) == 0 {
		return nil
	}
	all := &streamsReader{w: w}
	f, problem, err := archive.Spool(w.ctx, all, w.budget)
	if err != nil {
		return err
	}
	w.unpacks = f
	var spent *archive.ErrBudget
	switch {
	case errors.As(all.err, &spent):
		problem = all.err // what was unpacked before is still looked at
	case all.err != nil:
		return all.err
	}
	w.sources[inStreams] = newWindow(w.ctx, f)
	for i, s := range all.sections {
		stop := f.Size()
		if i+1 < len(all.sections) {
			stop = all.sections[i+1].start
		}
		if err := w.indexSection(s, stop); err != nil {
			return err
		}
	}
	if errors.As(problem, &spent) {
		return w.t.Sign(archive.Bomb, "%s", spent.What)
	}
	return nil
}

// indexSection indexes the objects of one object stream.
func (w *walker) indexSection(s section, stop int64) error {
	src := w.sources[inStreams]
	l := &lexer{w: src, pos: s.start}
	limit := min(s.start+s.first, stop)
	for n := 0; l.pos < limit; n++ {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		num, offset := l.token(), l.token()
		if num.kind != integer || offset.kind != integer {
			break
		}
		if num.n < 0 || num.n > maxNumber || offset.n < 0 || offset.n > stop-s.start-s.first {
			continue
		}
		if n == maxInStream {
			return w.t.Sign(archive.Unreadable, "an object stream holds more than %d objects", maxInStream)
		}
		if err := w.found(place{inStreams, s.start + s.first + offset.n}, num.n, 0); err != nil {
			return err
		}
	}
	return nil
}

// streamsReader unpacks the object streams one behind the other.
type streamsReader struct {
	w        *walker
	sections []section
	r        io.Reader // of the current one
	todo     int       // index of the next one
	read     int64
	err      error // ends the walk
}

// Read gives only errors that end the reading; a stream that can't be unpacked is said and left.
func (s *streamsReader) Read(p []byte) (int, error) {
	for {
		if s.r == nil {
			if s.todo == len(s.w.containers) {
				return 0, io.EOF
			}
			s.todo++
			if err := s.open(s.w.containers[s.todo-1]); err != nil {
				return 0, s.fail(err)
			}
			continue
		}
		n, err := s.r.Read(p)
		s.read += int64(n)
		if err != nil {
			s.r = nil
		}
		if err != nil && err != io.EOF {
			if err := s.damaged(err); err != nil {
				return n, s.fail(err)
			}
		}
		if err != nil && n < len(p) {
			p[n] = '\n' // so that no token goes on in the next one
			s.read++
			n++
		}
		if n > 0 {
			return n, nil
		}
	}
}

// open opens an object stream.
func (s *streamsReader) open(at place) error {
	o, err := s.w.objectAt(at)
	if err != nil {
		return err
	}
	first, err := s.w.last(o.value, "First", o)
	if err != nil {
		return err
	}
	r, err := s.w.open(o)
	if err != nil {
		return s.damaged(err)
	}
	if first.kind != integer || first.n < 0 || first.n > maxFirst {
		return s.w.t.Sign(archive.Unreadable, "object stream %d does not say where its objects are", o.num)
	}
	s.sections = append(s.sections, section{at, s.read, first.n})
	s.r = r
	return nil
}

// damaged says that an object stream could not be unpacked, unless that is no fault of its own.
func (s *streamsReader) damaged(err error) error {
	if fatal(err) || s.w.failed() != nil {
		return err
	}
	if errors.Is(err, errLocked) {
		return nil // the sign for that is given
	}
	return s.w.t.Sign(archive.Unreadable, "object stream %d can't be unpacked: %v", s.number(), err)
}

func (s *streamsReader) number() int64 {
	at := s.w.containers[s.todo-1]
	num, _, _ := numbersBefore(s.w.sources[inFile], at.pos-3)
	return num
}

func (s *streamsReader) fail(err error) error {
	s.err = err
	return err
}

// fatal reports whether an error ends the walk, and does not speak of one stream.
func fatal(err error) bool {
	var spent *archive.ErrBudget
	return errors.As(err, &spent) || errors.Is(err, errWork) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// failed gives the error of reading the file or of the disk, if there was one.
func (w *walker) failed() error {
	for _, s := range w.sources {
		if s != nil && s.err != nil {
			return s.err
		}
	}
	return w.readErr
}

// rawReader reads the octets of a stream as they are in the file, and remembers that it could not.
type rawReader struct {
	w *walker
	r io.Reader
}

func (r *rawReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.w.readErr = err
	}
	return n, err
}

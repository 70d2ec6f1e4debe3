package edge

import (
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// quietListener is a listener to which nobody comes. A deaf one forgets its deadlines.
type quietListener struct {
	deaf   bool
	mu     sync.Mutex
	timer  *time.Timer
	closed chan struct{}
	once   sync.Once
}

func newQuiet(deaf bool) *quietListener {
	return &quietListener{deaf: deaf, closed: make(chan struct{}), timer: time.NewTimer(24 * time.Hour)}
}

func (q *quietListener) SetDeadline(t time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.deaf {
		q.timer.Reset(time.Until(t))
	}
	return nil
}

func (q *quietListener) Accept() (net.Conn, error) {
	select {
	case <-q.timer.C:
		return nil, os.ErrDeadlineExceeded
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *quietListener) Close() error   { q.once.Do(func() { close(q.closed) }); return nil }
func (q *quietListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// TestAlive: a server is alive while nobody comes, and is not when one of its loops does not come round.
func TestAlive(t *testing.T) {
	for _, c := range []struct {
		name  string
		deaf  []bool
		alive bool
	}{
		{"one", []bool{false}, true},
		{"two", []bool{false, false}, true},
		{"one hangs", []bool{true}, false},
		{"the second hangs", []bool{false, true}, false},
		{"no loop", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := makeDoor(t, nil, nil)
				ended := make(chan error, 2)
				for _, deaf := range c.deaf {
					go func() { ended <- d.srv.Serve(newQuiet(deaf)) }()
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if err := d.srv.Alive(); (err == nil) != c.alive {
					t.Errorf("%v", err)
				}
				_ = d.srv.Close()
				for range c.deaf {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				}
				if err := d.srv.Alive(); err != nil {
					t.Errorf("stopped: %v", err)
				}
			})
		})
	}
}

// TestAliveWaitsForTheLock: a server whose lock is held for good never answers.
func TestAliveWaitsForTheLock(t *testing.T) {
	d := makeDoor(t, nil, nil)
	d.srv.mu.Lock()
	answered := make(chan struct{})
	go func() { _ = d.srv.Alive(); close(answered) }()
	select {
	case <-answered:
		t.Error("it says that it is alive")
	case <-time.After(20 * time.Millisecond): // no bubble: waiting for a lock holds its clock
	}
	d.srv.mu.Unlock()
	<-answered
}

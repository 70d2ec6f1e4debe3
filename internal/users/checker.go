package users

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Result is what came of a login.
type Result uint8

// The results.
const (
	Wrong     Result = iota // no such user, or not his password
	Right                   // he may
	Throttled               // too many failures before it: the password was not looked at
	Busy                    // too many others at the same time: the password was not looked at
)

// String gives the word for r.
func (r Result) String() string {
	switch r {
	case Wrong:
		return "wrong"
	case Right:
		return "ok"
	case Throttled:
		return "throttled"
	}
	return "busy"
}

// What checking passwords may take of the host, whoever asks for it.
const (
	workers   = 2                // hashes made at once; each takes the memory that it says
	queue     = 64               // logins that wait for that
	queueHome = 16               // of them, places that are kept for users at home
	queueTime = 20 * time.Second // and for how long
	remember  = time.Hour        // a password that was right is not hashed again for so long
	maxProofs = 1 << 12          // passwords that are remembered
)

// Checker checks passwords. There is one for a whole gateway, and it outlives what it checks against: what it remembers
// holds for a user with this name and this hash. It is safe for concurrent use.
type Checker struct {
	slots    chan struct{}
	waiting  atomic.Int32
	throttle throttle

	key    [sha256.Size]byte // of the proofs; random, and never stored
	mu     sync.Mutex
	proofs map[string]proof // by name
}

// proof says that a password was right: programs log in for each message, and hashing costs as much as the message.
type proof struct {
	mac   [sha256.Size]byte // of name, hash and password
	until time.Time
}

// NewChecker makes a Checker.
func NewChecker() *Checker {
	c := &Checker{slots: make(chan struct{}, workers), proofs: map[string]proof{}}
	_, _ = rand.Read(c.key[:]) // never fails
	return c
}

// Attempt is one login.
type Attempt struct {
	Client   netip.Addr
	Home     bool // failures of others in this network never keep its users out
	Name     string
	Password string
}

// Check says whether somebody may log in; the user is nil unless he may. It waits where failures came before, or where
// others are before it, and takes as long for a name that there is not as for one that there is.
func (c *Checker) Check(ctx context.Context, l *List, a Attempt) (*User, Result) {
	key, err := canonical(a.Name)
	if err != nil {
		key = "" // nobody's
	}
	begun, wait, ok := c.throttle.begin(key, a.Client, a.Home, time.Now())
	if !ok {
		return nil, Throttled
	}
	if wait > 0 && !sleep(ctx, wait) {
		return nil, Busy
	}
	u := l.byKey[key]
	right, ok := c.verify(ctx, l, u, key, a.Password, begun.home)
	switch {
	case !ok:
		return nil, Busy
	case !right:
		c.throttle.failed(begun, time.Now())
		return nil, Wrong
	}
	c.throttle.succeeded(begun, time.Now())
	return u, Right
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// verify compares a password with that of u, or of nobody where u is nil; ok is false where it could not.
func (c *Checker) verify(ctx context.Context, l *List, u *User, key, password string, home bool) (right, ok bool) {
	prepared, err := prepare(password)
	if err != nil {
		u, prepared = nil, []byte("none") // nobody has it
	}
	if u != nil && c.known(u, prepared) {
		return true, true
	}
	if !c.enter(ctx, home) {
		return false, false
	}
	defer func() { <-c.slots }()
	if u == nil {
		l.decoy(key).matches(prepared)
		return false, true
	}
	if !u.hash.matches(prepared) {
		return false, true
	}
	c.learn(u, prepared)
	return true, true
}

// enter takes a slot for a hash, and reports whether it got one. Strangers leave room in the queue for users who are at
// home.
func (c *Checker) enter(ctx context.Context, home bool) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	most := int32(queue)
	if !home {
		most -= queueHome
	}
	if c.waiting.Add(1) > most {
		c.waiting.Add(-1)
		return false
	}
	defer c.waiting.Add(-1)
	late := time.NewTimer(queueTime)
	defer late.Stop()
	select {
	case c.slots <- struct{}{}:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// mac is what is remembered of a password.
func (c *Checker) mac(u *User, password []byte) (sum [sha256.Size]byte) {
	m := hmac.New(sha256.New, c.key[:])
	for _, s := range []string{u.key, u.hash.String(), string(password)} {
		var n [4]byte
		n[0], n[1], n[2], n[3] = byte(len(s)>>24), byte(len(s)>>16), byte(len(s)>>8), byte(len(s))
		m.Write(n[:])
		m.Write([]byte(s))
	}
	return [sha256.Size]byte(m.Sum(nil))
}

// known reports whether this password was right lately.
func (c *Checker) known(u *User, password []byte) bool {
	mac := c.mac(u, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.proofs[u.key]
	return ok && time.Now().Before(p.until) && hmac.Equal(p.mac[:], mac[:])
}

func (c *Checker) learn(u *User, password []byte) {
	p := proof{mac: c.mac(u, password), until: time.Now().Add(remember)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.proofs[u.key]; !ok && len(c.proofs) >= maxProofs {
		for k := range c.proofs { // any: the map's order is random
			delete(c.proofs, k)
			break
		}
	}
	c.proofs[u.key] = p
}

// SamePassword reports whether the password of u is this one. It hashes at once: it is for the command line.
func SamePassword(u *User, password string) bool {
	p, err := prepare(password)
	return err == nil && u.hash.matches(p)
}

package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// PollEvery is the pause between two calls of Poll. A change is taken up when two of them have seen the files in the
// same state.
const PollEvery = 10 * time.Second

// Spec is what the TLS of a listener is made of.
type Spec struct {
	Pairs       []Pair // one at least; the first is for clients that ask for no name, or for one that none is for
	Min         uint16 // the least version, as in package tls
	ClientCA    string // file of the authorities of clients, PEM; "" for none
	ClientPlace string // where the configuration has it
	Ask         bool   // ask clients for certificates, also without ClientCA
}

// Set is what was read for a Spec.
type Set struct {
	spec  Spec
	items []*item // one for each of the pairs, and one for ClientCA
}

// item is one thing that was read, and how its files looked then.
type item struct {
	place string
	files []string
	read  func() (part, error)
	part
	seen    look
	pending look  // of files that have changed, and may be changing still
	err     error // why what is in the files now is not in use
}

// part is what an item holds: a certificate, or authorities.
type part struct {
	cert *Certificate
	pool *x509.CertPool
	sum  [sha256.Size]byte
}

// look is how files look from outside; nil for one that is not there.
type look []fs.FileInfo

func lookAt(files []string) look {
	l := make(look, len(files))
	for i, path := range files {
		if info, err := os.Stat(path); err == nil {
			l[i] = info
		}
	}
	return l
}

// same reports whether two looks saw the same files in one state. One that a link points to anew is another file.
func (l look) same(o look) bool {
	if len(l) != len(o) {
		return false
	}
	for i, a := range l {
		b := o[i]
		if (a == nil) != (b == nil) {
			return false
		}
		if a != nil && (a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) || !os.SameFile(a, b)) {
			return false
		}
	}
	return true
}

// errMoving says that files changed while they were read.
var errMoving = errors.New("certs: the files changed while they were read")

// take reads the item's files.
func (it *item) take() error {
	before := lookAt(it.files)
	p, err := it.read()
	if err != nil {
		return err
	}
	if !lookAt(it.files).same(before) {
		return errMoving
	}
	it.part, it.seen = p, before
	return nil
}

// ReadSet reads all that a Spec names. Its errors are those of Read.
func ReadSet(spec Spec) (*Set, error) {
	s := &Set{spec: spec}
	for _, p := range spec.Pairs {
		s.items = append(s.items, &item{place: p.Place, files: []string{p.Certificate, p.Key}, read: func() (part, error) {
			c, err := Read(p)
			if err != nil {
				return part{}, err
			}
			return part{cert: c, sum: c.sum}, nil
		}})
	}
	if spec.ClientCA != "" {
		s.items = append(s.items, &item{place: spec.ClientPlace, files: []string{spec.ClientCA}, read: func() (p part, err error) {
			p.pool, p.sum, err = readPool(spec.ClientCA)
			return p, err
		}})
	}
	for _, it := range s.items {
		err := it.take()
		for tries := 1; errors.Is(err, errMoving) && tries < 3; tries++ {
			err = it.take()
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Certificates gives those that were read.
func (s *Set) Certificates() []*Certificate {
	var all []*Certificate
	for _, it := range s.items {
		if it.cert != nil {
			all = append(all, it.cert)
		}
	}
	return all
}

// sum tells sets apart that make different handshakes.
func (s *Set) sum() [sha256.Size]byte {
	h := binary.BigEndian.AppendUint16(nil, s.spec.Min)
	if s.spec.Ask {
		h = append(h, 1)
	}
	for _, it := range s.items {
		h = append(h, it.sum[:]...)
	}
	return sha256.Sum256(h)
}

// config makes what handshakes are made with.
func (s *Set) config() *tls.Config {
	c := &tls.Config{MinVersion: s.spec.Min}
	var all []*tls.Certificate
	for _, it := range s.items {
		if it.cert != nil {
			all = append(all, &it.cert.tls)
		} else {
			c.ClientCAs = it.pool
		}
	}
	if s.spec.Ask || c.ClientCAs != nil {
		c.ClientAuth = tls.RequestClientCert // never demanded: whoever takes the handshake verifies what is shown
	}
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return choose(all, hello), nil }
	return c
}

// choose gives the certificate for a client: the first that is for the name it asks for and of a kind that it can
// use, else the first of such a kind, else the first.
func choose(all []*tls.Certificate, hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(all) == 1 {
		return all[0]
	}
	nameless := *hello
	nameless.ServerName = ""
	for _, h := range []*tls.ClientHelloInfo{hello, &nameless} {
		for _, c := range all {
			if h.SupportsCertificate(c) == nil {
				return c
			}
		}
	}
	return all[0]
}

// Door is the TLS of one listener, for as long as it is open. It is safe for concurrent use.
//
// The configuration of package tls also holds the keys of session tickets, which that package exchanges day by day. It
// is kept for as long as what it was made of stays the same, so that a reload does not end the sessions of clients; and
// it is made anew when any of that changes, so that nobody resumes a session that began with an old certificate.
type Door struct {
	current atomic.Pointer[tls.Config]

	mu  sync.Mutex
	set *Set // nil before Use
	sum [sha256.Size]byte
}

// Config gives what the next handshake is to be made with; nil before Use.
func (d *Door) Config() *tls.Config { return d.current.Load() }

// Use puts a set in the place of what there was, from the next handshake on. The set belongs to the door from now on.
func (d *Door) Use(s *Set) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.use(s)
}

func (d *Door) use(s *Set) {
	sum := s.sum()
	if d.set == nil || sum != d.sum {
		d.current.Store(s.config())
	}
	d.set, d.sum = s, sum
}

// Change is something that Poll found.
type Change struct {
	Place string   // of the pair, or of the authorities
	Files []string // of it
	Err   error    // why what is in the files is not used, and what was read before is; nil: it is in use now
}

// Poll looks whether files have changed, and takes them up. A certificate and a key that do not belong together, as
// there are while the one is replaced and the other is not, leave the old ones in use, and so does whatever can't be read; it
// is tried again by the next call, and told once.
func (d *Door) Poll() []Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set == nil {
		return nil
	}
	var all []Change
	for _, it := range d.set.items {
		if told, err := it.poll(); told {
			all = append(all, Change{Place: it.place, Files: it.files, Err: err})
		}
	}
	d.use(d.set)
	return all
}

// poll looks at the item's files; told says that there is something new about them.
func (it *item) poll() (told bool, err error) {
	now := lookAt(it.files)
	before := it.err
	switch {
	case now.same(it.seen): // unchanged, or back again
		it.pending, it.err = nil, nil
		return before != nil, nil
	case !now.same(it.pending):
		it.pending = now
		return false, nil
	}
	old := it.sum
	err = it.take()
	if errors.Is(err, errMoving) {
		it.pending = nil
		return false, nil
	}
	it.err = err
	if err != nil {
		return before == nil || before.Error() != err.Error(), err
	}
	it.pending = nil
	return before != nil || it.sum != old, nil
}

// State is how one of the door's certificates is, or its authorities.
type State struct {
	Place    string
	NotAfter time.Time // of the certificate in use; zero for authorities
	Taken    bool      // what is in the files is in use
}

// States gives the state of each.
func (d *Door) States() []State {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set == nil {
		return nil
	}
	all := make([]State, len(d.set.items))
	for i, it := range d.set.items {
		all[i] = State{Place: it.place, Taken: it.err == nil}
		if it.cert != nil {
			all[i].NotAfter = it.cert.NotAfter()
		}
	}
	return all
}

package app

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// countingSink is an SMTP server that counts messages by their field X-Id. It takes a little time for each.
type countingSink struct {
	addr string
	mu   sync.Mutex
	got  map[string]int
}

func newCountingSink(t testing.TB) *countingSink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &countingSink{addr: l.Addr().String(), got: map[string]int{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *countingSink) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	reply := "220 sink ESMTP\r\n"
	for {
		if _, err := io.WriteString(c, reply); err != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "EHLO":
			reply = "250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
		case "DATA":
			if _, err := io.WriteString(c, "354 go on\r\n"); err != nil {
				return
			}
			id := ""
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				if v, ok := strings.CutPrefix(line, "X-Id: "); ok {
					id = strings.TrimSpace(v)
				}
			}
			time.Sleep(rand.N(4 * time.Millisecond))
			s.mu.Lock()
			s.got[id]++
			s.mu.Unlock()
			reply = "250 2.0.0 stored\r\n"
		case "QUIT":
			_, _ = io.WriteString(c, "221 bye\r\n")
			return
		default:
			reply = "250 2.0.0 ok\r\n"
		}
	}
}

// mailers are clients that send mail without a pause, and take down what they were told.
type mailers struct {
	addr     string
	serial   atomic.Int64 // of the certificate that is in use at least
	stopping atomic.Bool  // the gateway may refuse what has not begun
	enough   atomic.Bool  // for the clients to come to their end
	next     atomic.Int64

	mu         sync.Mutex
	acked      map[string]bool
	faults     []string
	handshakes map[int64]int // by serial
	refused    int           // while the gateway is stopping
}

func (m *mailers) fault(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.faults) < 20 {
		m.faults = append(m.faults, fmt.Sprintf(format, args...))
	}
}

// errRefused says that a gateway which is stopping has refused a client between transactions.
var errRefused = errors.New("refused")

// session is a connection of a mailer.
type session struct {
	m *mailers
	c net.Conn
	r *bufio.Reader
}

// say sends a line and wants a reply; within a transaction nothing else will do.
func (s *session) say(line, code string, within bool) error {
	if line != "" {
		if _, err := io.WriteString(s.c, line+"\r\n"); err != nil && (within || !s.m.stopping.Load()) {
			return err // else the reply that was sent before is still to be read
		}
	}
	reply, err := readReply(s.r)
	switch {
	case err == nil && strings.HasPrefix(reply, code):
		return nil
	case !within && s.m.stopping.Load() && (err != nil || strings.HasPrefix(reply, "421 4.3.2")):
		return errRefused
	}
	return fmt.Errorf("%q: reply %q, %v", strings.SplitN(line, "\r\n", 2)[0], reply, err)
}

func (m *mailers) open(secure bool) (*session, error) {
	c, err := net.Dial("tcp", m.addr)
	if err != nil {
		if m.stopping.Load() {
			return nil, errRefused
		}
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Minute)) // some last until the end
	s := &session{m: m, c: c, r: bufio.NewReader(c)}
	err = errors.Join(s.say("", "220", false), s.say("EHLO client.test", "250", false))
	if err == nil && secure {
		err = s.startTLS()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) startTLS() error {
	if err := s.say("STARTTLS", "220", false); err != nil {
		return err
	}
	least := s.m.serial.Load()
	c := tls.Client(s.c, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		if s.m.stopping.Load() {
			return errRefused
		}
		return fmt.Errorf("handshake: %w", err)
	}
	got := c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	s.m.mu.Lock()
	s.m.handshakes[got]++
	s.m.mu.Unlock()
	if got < least {
		return fmt.Errorf("a handshake with certificate %d after %d was taken", got, least)
	}
	s.c, s.r = c, bufio.NewReader(c)
	return s.say("EHLO client.test", "250", false)
}

// send sends one message, slowly enough that reloads come in between.
func (s *session) send() error {
	id := fmt.Sprint(s.m.next.Add(1))
	if err := s.say("MAIL FROM:<a@client.test>", "250", false); err != nil {
		return err
	}
	for _, step := range [][2]string{
		{"RCPT TO:<u@example.org>", "250"},
		{"DATA", "354"},
		{"X-Id: " + id + "\r\nSubject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 100) + ".", "250"},
	} {
		time.Sleep(rand.N(10 * time.Millisecond))
		if err := s.say(step[0], step[1], true); err != nil {
			return fmt.Errorf("in a transaction: %w", err)
		}
	}
	s.m.mu.Lock()
	s.m.acked[id] = true
	s.m.mu.Unlock()
	return nil
}

// run opens connections and sends a few messages over each, over the first of them until the end where it is to last.
func (m *mailers) run(lasting bool) {
	for n := 0; !m.enough.Load(); n++ {
		s, err := m.open(n%2 == 0)
		for k := 0; err == nil && (lasting && !m.enough.Load() || k < 1+rand.N(4)); k++ {
			if err = s.send(); lasting {
				time.Sleep(rand.N(100 * time.Millisecond))
			}
		}
		if err == nil {
			err = s.say("QUIT", "221", false)
		}
		if s != nil {
			s.c.Close()
		}
		switch {
		case errors.Is(err, errRefused):
			m.mu.Lock()
			m.refused++
			m.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		case err != nil:
			m.fault("%v", err)
		}
	}
}

// someUser is a file of users.
const someUser = "ann@example.org $argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0c29tZSBzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA send=ann@example.org\n"

// hupConfigs are configurations between which reloads change: filters, the upstream's relay, limits, a second door.
func hupConfigs(dir, certs, sink, second string) []string {
	head := fmt.Sprintf("hostname: mx.example.org\nstate: {directory: %q}\ndns: {servers: [\"127.0.0.1:9\"]}\n"+
		"routes: [{to: [example.org], upstream: sink}]\n", filepath.Join(dir, "state"))
	door := func(limits string) string {
		return fmt.Sprintf("{address: \"127.0.0.1:0\", tls: {certificate: %q, key: %q}%s}",
			filepath.Join(certs, "cert.pem"), filepath.Join(certs, "key.pem"), limits)
	}
	upstream := func(replies string) string {
		return fmt.Sprintf("upstreams: {sink: {servers: [%q], tls: none, replies: %s}}\n", sink, replies)
	}
	return []string{
		head + "listeners: {public: " + door("") + "}\nfilters: []\n" + upstream("own"),
		head + "listeners: {public: " + door(fmt.Sprintf(", relay: {users: %q}", filepath.Join(certs, "users"))) + "}\n" + upstream("own"),
		head + "listeners: {public: " + door(", limits: {message: 1MiB}") + "}\nfilters: [iprev, pregreet, spf, heuristics, greylist]\n" + upstream("verbatim"),
		head + "listeners: {public: " + door("") + fmt.Sprintf(", second: {address: %q}", second) + "}\nfilters: [attachments]\n" + upstream("verbatim"),
	}
}

// reload makes a configuration the one of the moment, as HUP does.
func (g *testGateway) take(t *testing.T, text string) {
	t.Helper()
	put(t, g.app.o.Config, []byte(text))
	g.reload(t.Context())
	if g.refused.Load() != nil {
		t.Fatalf("the configuration was not taken:\n%s", g.log.String())
	}
}

// tried reports whether enough was tried: messages, and handshakes with certificates of before and after a reload.
func (m *mailers) tried() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.acked) >= 200 && len(m.handshakes) >= 10
}

// TestNothingIsLostOverReloads reloads every 100 ms under load, with other filters, relays, limits, listeners and
// certificates, as often as it takes to try enough, and stops at the end. No connection is dropped and no message lost or doubled, and from the moment that a
// certificate is taken nobody sees the one of before.
func TestNothingIsLostOverReloads(t *testing.T) {
	sink := newCountingSink(t)
	dir := t.TempDir()
	swap := func(serial int64) {
		t.Helper()
		cert, key := pemPair(t, serial, month, "mx.example.org")
		put(t, filepath.Join(dir, "cert.pem"), cert)
		put(t, filepath.Join(dir, "key.pem"), key)
	}
	swap(1)
	put(t, filepath.Join(dir, "users"), []byte(someUser))
	configs := hupConfigs(t.TempDir(), dir, sink.addr, peertest.FreeAddr(t))
	g := startGateway(t, configs[0])
	m := &mailers{addr: g.addr, acked: map[string]bool{}, handshakes: map[int64]int{}}
	m.serial.Store(1)
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() { m.run(i%4 == 0) })
	}
	const least = 80
	reloads := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Minute); reloads < least || !m.tried() && time.Now().Before(end); reloads++ {
		<-tick.C
		i := reloads
		serial := m.serial.Load()
		if i%5 == 4 {
			serial++
			swap(serial)
		}
		g.take(t, configs[i%len(configs)])
		m.serial.Store(serial)
	}
	m.stopping.Store(true)
	if err := g.drain(nil); err != nil {
		t.Error(err)
	}
	m.enough.Store(true)
	all.Wait()

	for _, f := range m.faults {
		t.Error(f)
	}
	if n := len(g.log.lines(t, "listener did not drain in time")); n > 0 {
		t.Error("it did not drain in time")
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	for id, n := range sink.got {
		if n != 1 || !m.acked[id] {
			t.Errorf("message %q arrived %d times, acknowledged: %v", id, n, m.acked[id])
		}
	}
	for id := range m.acked {
		if sink.got[id] == 0 {
			t.Errorf("message %s was acknowledged and is lost", id)
		}
	}
	serials := slices.Sorted(maps.Keys(m.handshakes))
	t.Logf("%d reloads, %d messages, handshakes with %d certificates, %d clients refused while it stopped", reloads, len(m.acked), len(serials), m.refused)
	if !m.tried() || m.refused == 0 {
		t.Error("too little was tried")
	}
}

// open gives how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		if runtime.GOOS != "linux" {
			return 0
		}
		t.Fatal(err)
	}
	return len(all)
}

// TestReloadsLeakNothing: three hundred reloads, with mail in between, leave no goroutine, no descriptor and no memory
// behind.
func TestReloadsLeakNothing(t *testing.T) {
	sink := newCountingSink(t)
	dir := t.TempDir()
	cert, key := pemPair(t, 1, month, "mx.example.org")
	put(t, filepath.Join(dir, "cert.pem"), cert)
	put(t, filepath.Join(dir, "key.pem"), key)
	put(t, filepath.Join(dir, "users"), []byte(someUser))
	configs := hupConfigs(t.TempDir(), dir, sink.addr, peertest.FreeAddr(t))
	g := startGateway(t, configs[0])
	m := &mailers{addr: g.addr, acked: map[string]bool{}, handshakes: map[int64]int{}}
	round := func(n int) {
		for i := range n {
			g.take(t, configs[i%len(configs)])
			if i%4 != 0 {
				continue
			}
			s, err := m.open(true)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.send(), s.say("QUIT", "221", false)); err != nil {
				t.Fatal(err)
			}
			s.c.Close()
		}
		g.take(t, configs[0])
	}
	measure := func() (goroutines, files int, heap uint64) {
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		return runtime.NumGoroutine(), openFiles(t), mem.HeapAlloc
	}
	round(20)
	var goroutines, files int
	var heap uint64
	comesTrue(func() bool { // what ends may take a moment: connections, goodbyes
		g, f := goroutines, files
		time.Sleep(100 * time.Millisecond)
		goroutines, files, heap = measure()
		return g == goroutines && f == files
	})
	began := time.Now()
	round(300)
	took := time.Since(began)
	var g2, f2 int
	var h2 uint64
	ended := comesTrue(func() bool {
		g2, f2, h2 = measure()
		return g2 <= goroutines+4 && f2 <= files+4 && h2 <= heap+8<<20
	})
	t.Logf("goroutines %d, then %d; descriptors %d, then %d; heap %d KiB, then %d KiB; %d ms for a reload", goroutines, g2, files, f2, heap>>10, h2>>10,
		took.Milliseconds()/300)
	if !ended {
		t.Errorf("goroutines %d, then %d; descriptors %d, then %d; heap %d KiB, then %d KiB", goroutines, g2, files, f2, heap>>10, h2>>10)
	}
	if n := len(g.leaving); n > 3 {
		t.Errorf("%d listeners that are gone are remembered", n)
	}
}

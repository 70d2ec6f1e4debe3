//go:build accept

package accept

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// renewal is a certificate that is renewed as certbot does it: the configuration names links, which one after the other
// point to the new files.
type renewal struct {
	t         *testing.T
	dir       string
	cert, key string
}

func newRenewal(t *testing.T) *renewal {
	dir := t.TempDir()
	r := &renewal{t: t, dir: dir, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	r.renew(1)
	return r
}

func (r *renewal) renew(serial int64) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "mx.bench.test"}, DNSNames: []string{"mx.bench.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		r.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range []struct {
		link  string
		block pem.Block
	}{{r.key, pem.Block{Type: "PRIVATE KEY", Bytes: secret}}, {r.cert, pem.Block{Type: "CERTIFICATE", Bytes: der}}} {
		target := fmt.Sprintf("%s.%d", f.link, serial)
		if err := os.WriteFile(target, pem.EncodeToMemory(&f.block), 0o600); err != nil {
			r.t.Fatal(err)
		}
		if err := os.Symlink(target, f.link+".new"); err != nil {
			r.t.Fatal(err)
		}
		if err := os.Rename(f.link+".new", f.link); err != nil {
			r.t.Fatal(err)
		}
	}
}

// starttls makes a handshake with a gateway, and gives the certificate's serial number.
func starttls(addr string) (int64, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := talk(c, bufio.NewReader(c), "", "EHLO prober.test", "STARTTLS"); err != nil {
		return 0, err
	}
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	if err := s.Handshake(); err != nil {
		return 0, err
	}
	return s.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), talk(s, bufio.NewReader(s), "EHLO prober.test", "QUIT")
}

// talk says lines, none of which may be refused; "" is waiting for the greeting.
func talk(c net.Conn, r *bufio.Reader, lines ...string) error {
	for _, line := range lines {
		if line != "" {
			if _, err := io.WriteString(c, line+"\r\n"); err != nil {
				return err
			}
		}
		for {
			reply, err := r.ReadString('\n')
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			if reply[0] > '3' {
				return fmt.Errorf("%q: %s", line, strings.TrimSpace(reply))
			}
			if reply[3] == ' ' {
				break
			}
		}
	}
	return nil
}

// process gives the resident memory of a process in octets, and how many descriptors it has.
func process(t *testing.T, pid int) (resident int64, files int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &resident)
	}
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return resident << 10, len(all)
}

// logTail follows a gateway's log, and counts lines by their message.
type logTail struct {
	t    *testing.T
	r    *bufio.Reader
	part string // of a line that is not there as a whole
	n    map[string]int
}

func (p *postern) tail(t *testing.T) *logTail {
	t.Helper()
	f, err := os.Open(p.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &logTail{t: t, r: bufio.NewReaderSize(f, 1<<20), n: map[string]int{}}
}

func (l *logTail) count(msg string) int {
	l.t.Helper()
	for {
		line, err := l.r.ReadString('\n')
		l.part += line
		if err != nil {
			return l.n[msg]
		}
		if _, rest, ok := strings.Cut(l.part, `"msg":"`); ok {
			m, _, _ := strings.Cut(rest, `"`)
			l.n[m]++
		}
		l.part = ""
	}
}

// startLoad runs smtpload until it has had its time.
func startLoad(t *testing.T, bin, addr, lasts string) func() load {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "smtpload"), "-addr", addr, "-s", "20", "-m", "100000000", "-perconn", "10", "-maxtime", lasts)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() load {
		t.Helper()
		var l load
		if err := json.NewDecoder(out).Decode(&l); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		return l
	}
}

// TestReloads sends a HUP every 100 ms for a minute to a gateway under load, renews its certificate every two seconds, and
// drains it under load at the end.
func TestReloads(t *testing.T) {
	bin := loadkit(t)
	s := startSink(t, bin)
	certs := newRenewal(t)
	const lasts = 60 * time.Second
	p := startListener(t, s.addr, fmt.Sprintf("limits: {per_client: 1000}, tls: {certificate: %q, key: %q}", certs.cert, certs.key),
		"drain: 30s\nlog: {level: info}\nfilters: [heuristics]\n")
	pid, log := p.cmd.Process.Pid, p.tail(t)
	const open = 100
	old := make([]net.Conn, open)
	readers := make([]*bufio.Reader, open)
	for i := range old {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		old[i], readers[i] = c, bufio.NewReader(c)
		if err := talk(c, readers[i], "", "EHLO old.test", "MAIL FROM:<a@old.test>"); err != nil {
			t.Fatal(err)
		}
	}
	memory, files := process(t, pid)
	var serial, handshakes, stale atomic.Int64
	serial.Store(1)
	var ended atomic.Bool
	var probers sync.WaitGroup
	for range 2 {
		probers.Go(func() {
			for !ended.Load() {
				least := serial.Load()
				got, err := starttls(p.addr)
				if err != nil {
					t.Errorf("handshake: %v", err)
					return
				}
				handshakes.Add(1)
				if got < least {
					stale.Add(1)
				}
			}
		})
	}
	result := startLoad(t, bin, p.addr, lasts.String())
	hups, renewed := 0, int64(1)
	hup := func() {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		hups++
		time.Sleep(100 * time.Millisecond)
	}
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		for range 20 {
			hup()
		}
		renewed++
		certs.renew(renewed)
		// Two reloads that are taken: the first may have begun before the files were there.
		for before := log.count("configuration taken"); log.count("configuration taken") < before+2; {
			hup()
		}
		serial.Store(renewed)
	}
	l := result()
	ended.Store(true)
	probers.Wait()
	for i, c := range old {
		if err := talk(c, readers[i], "RSET", "NOOP", "QUIT"); err != nil {
			t.Errorf("connection %d of before: %v", i, err)
		}
		c.Close()
	}
	time.Sleep(2 * time.Second)
	memoryAfter, filesAfter := process(t, pid)
	taken, refused := log.count("configuration taken"), log.count("configuration not taken: the old one is in force")

	more := startLoad(t, bin, p.addr, "4s")
	time.Sleep(2 * time.Second)
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the gateway's end: %v", err)
	}
	drained := time.Since(began)
	last := more()
	got, unique, dups := s.stop(t)
	var g goals
	g.want(t, len(l.Replies) == 1 && l.OK > 0, "no reply but 250", "under reloads: %s", l)
	acked := l.OK + last.OK
	g.want(t, unique == acked && dups == 0 && got.BodyBad == 0, "none lost, doubled or changed", "acknowledged %d, arrived %d, doubled %d, %+v", acked, unique, dups, got)
	g.want(t, stale.Load() == 0, "no old certificate", "%d of %d handshakes with a certificate that had been replaced", stale.Load(), handshakes.Load())
	g.want(t, filesAfter <= files+8 && memoryAfter <= memory+64<<20, "8 descriptors and 64 MiB more",
		"descriptors %d, then %d; memory %d MiB, then %d MiB", files, filesAfter, memory>>20, memoryAfter>>20)
	table(t, "A HUP every 100 ms under load, a new certificate every two seconds, a drain at the end",
		"go test -tags accept -run TestReloads ./internal/accept",
		[]string{"HUPs", "reloads taken / refused", "messages acknowledged", "lost", "doubled", "connections dropped", "certificates", "handshakes", "with an old certificate", "connections of before that end well", "drained in s", "descriptors before / after", "resident MiB before / after", "goals"},
		[][]string{{
			fmt.Sprint(hups), fmt.Sprintf("%d / %d", taken, refused), fmt.Sprint(acked), fmt.Sprint(acked - unique), fmt.Sprint(dups),
			fmt.Sprint(broken(l)), fmt.Sprint(renewed), fmt.Sprint(handshakes.Load()), fmt.Sprint(stale.Load()), fmt.Sprint(open),
			fmt.Sprintf("%.1f", drained.Seconds()), fmt.Sprintf("%d / %d", files, filesAfter), fmt.Sprintf("%d / %d", memory>>20, memoryAfter>>20), g.String(),
		}})
	t.Logf("%d HUPs, %d taken, %d refused, %d messages, %d handshakes, drained in %s, then %s; descriptors %d, %d; memory %d, %d MiB", hups, taken, refused,
		l.OK+last.OK, handshakes.Load(), drained, last, files, filesAfter, memory>>20, memoryAfter>>20)
}

// broken counts the messages that had no reply.
func broken(l load) (n int64) {
	for code, k := range l.Replies {
		if strings.HasPrefix(code, "io:") {
			n += k
		}
	}
	return n
}

//go:build accept

package accept

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
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
	"testing"
	"time"
)

// crowd is many clients at once, in a process of their own, so that the gateway's memory is nobody else's. The test's
// binary is that process too, told so by its environment.
type crowd struct {
	Addr string
	N    int
	Do   string // see the words below
	TLS  bool   // STARTTLS first

	Certificate, Key string // of "serve"
}

// What a crowd does.
const (
	crowdIdle      = "idle"       // says EHLO, and is silent
	crowdMessage   = "message"    // sends a message of 100 KB, and is silent
	crowdSlow      = "slow"       // sends an octet of content each second
	crowdSilent    = "silent"     // says STARTTLS, and is silent
	crowdHalfHello = "half-hello" // sends half a ClientHello
	crowdHello     = "hello"      // sends a ClientHello, and does not go on
	crowdShake     = "shake"      // makes TLS handshakes for a second, one after another
	crowdMail      = "mail"       // the same over STARTTLS, each with a message
	crowdServe     = "serve"      // is the server of "shake"
)

const crowdVariable = "POSTERN_ACCEPT_CROWD"

// gathered is what a crowd says when it is there, and once more when it goes.
type gathered struct {
	Open   int
	Failed map[string]int
}

// runCrowd is the life of the process: it connects, says so, waits for its input to end, and says who is still there.
func runCrowd(spec string) error {
	var c crowd
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return err
	}
	switch c.Do {
	case crowdServe:
		return serveHandshakes(c)
	case crowdShake, crowdMail:
		return c.shake()
	}
	g := gathered{Failed: map[string]int{}}
	open := make([]net.Conn, 0, c.N)
	var mu sync.Mutex
	var all sync.WaitGroup
	next := make(chan int)
	for range 40 {
		all.Go(func() {
			for i := range next {
				conn, err := c.join(i)
				mu.Lock()
				if err != nil {
					g.Failed[err.Error()]++
				} else {
					open = append(open, conn)
				}
				mu.Unlock()
			}
		})
	}
	for i := range c.N {
		next <- i
	}
	close(next)
	all.Wait()
	g.Open = len(open)
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(g); err != nil {
		return err
	}
	end := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(end) }()
	for told := false; !told; {
		if c.Do == crowdSlow {
			dribble(open, end)
		}
		select {
		case <-end:
			told = true
		case <-time.After(time.Millisecond):
		}
	}
	g.Open = stillThere(open)
	return out.Encode(g)
}

// stillThere counts the connections that have not ended.
func stillThere(open []net.Conn) int {
	var n atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(time.Second)
	for _, conn := range open {
		all.Go(func() {
			_ = conn.SetReadDeadline(end)
			if _, err := io.Copy(io.Discard, struct{ io.Reader }{conn}); errors.Is(err, os.ErrDeadlineExceeded) {
				n.Add(1)
			}
		})
	}
	all.Wait()
	return int(n.Load())
}

// dribble sends one octet on each connection, over one second.
func dribble(open []net.Conn, end <-chan struct{}) {
	begin := time.Now()
	for i, conn := range open {
		if i%50 == 0 {
			select {
			case <-end:
				return
			case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(len(open))))):
			}
		}
		_, _ = conn.Write([]byte("x"))
	}
	time.Sleep(time.Until(begin.Add(time.Second)))
}

// hundredKB is a message of 100 KB with its end.
var hundredKB = []byte("Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 1311) + ".\r\n")

// join brings one client to where it stays.
func (c *crowd) join(i int) (_ net.Conn, err error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/250%250), byte(1+i%250))}
	d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: from}
	conn, err := d.Dial("tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	talk := func(code, line string) {
		if err == nil {
			err = exchange(conn, code, line)
		}
	}
	talk("220", "")
	talk("250", "EHLO crowd.test\r\n")
	switch c.Do {
	case crowdSilent, crowdHalfHello, crowdHello:
		talk("220", "STARTTLS\r\n")
		if err == nil {
			err = beginHandshake(conn, c.Do)
		}
		return conn, err
	}
	if c.TLS {
		talk("220", "STARTTLS\r\n")
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own certificate
		talk("250", "EHLO crowd.test\r\n")
	}
	if c.Do == crowdIdle {
		return conn, err
	}
	talk("250", "MAIL FROM:<a@crowd.test>\r\n")
	talk("250", "RCPT TO:<b@bench.test>\r\n")
	talk("354", "DATA\r\n")
	if c.Do == crowdMessage {
		talk("250", string(hundredKB))
	} else if err == nil {
		_, err = io.WriteString(conn, "Subject: slow\r\n\r\n")
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, err
}

// exchange sends what is to be said and reads the replies, which must have the codes, in their order.
func exchange(conn net.Conn, codes, said string) error {
	if _, err := io.WriteString(conn, said); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 512)
	for code := range strings.FieldsSeq(codes) {
		for more := true; more; {
			l, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if !strings.HasPrefix(l, code) {
				return fmt.Errorf("%.40q where %s was due", l, code)
			}
			more = l[3] == '-'
		}
	}
	return nil
}

// firstFlight takes what a TLS client sends first.
type firstFlight struct {
	net.Conn
	sent bytes.Buffer
}

var errFlight = errors.New("that is enough")

func (f *firstFlight) Write(p []byte) (int, error) { return f.sent.Write(p) }
func (f *firstFlight) Read([]byte) (int, error)    { return 0, errFlight }

// beginHandshake sends as much of a handshake as is asked for.
func beginHandshake(conn net.Conn, how string) error {
	if how == crowdSilent {
		return nil
	}
	f := &firstFlight{Conn: conn}
	_ = tls.Client(f, &tls.Config{InsecureSkipVerify: true}).Handshake() //nolint:gosec // as above
	hello := f.sent.Bytes()
	if how == crowdHalfHello {
		hello = hello[:len(hello)/2]
	}
	if _, err := conn.Write(hello); err != nil || how == crowdHalfHello {
		return err
	}
	_, err := conn.Read(make([]byte, 1)) // the server has answered: it waits for us
	return err
}

// command makes the process.
func (c *crowd) command(t *testing.T) *exec.Cmd {
	t.Helper()
	spec, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crowdVariable+"="+string(spec))
	cmd.Stderr = os.Stderr
	return cmd
}

// gather starts a crowd and waits until all of it is there. Its end tells who still was.
func gather(t *testing.T, c crowd) (end func() gathered) {
	t.Helper()
	cmd := c.command(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	said := json.NewDecoder(out)
	listen := func() (g gathered) {
		if err := said.Decode(&g); err != nil {
			t.Fatalf("crowd: %v", err)
		}
		return g
	}
	if g := listen(); g.Open != c.N {
		t.Fatalf("crowd: %d of %d are there: %v", g.Open, c.N, g.Failed)
	}
	return func() gathered {
		_ = in.Close()
		return listen()
	}
}

// listenerTLS gives the listener's key "tls" with a new certificate.
func listenerTLS(t *testing.T) string {
	t.Helper()
	cert, key := certificate(t)
	return fmt.Sprintf("tls: {certificate: %q, key: %q}", cert, key)
}

// certificate writes a certificate with an ECDSA key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.bench.test"}, DNSNames: []string{"mx.bench.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret)
}

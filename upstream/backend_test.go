package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// backend is a server that follows scripts, one for each connection in turn. Each line of a script is a
// command and its argument:
//
//	S text      send the text and CRLF; in Go quotes: just these octets
//	C text      the next line must be this
//	C+ text     the same, and it must have come with what was read before: in one write
//	quiet       nothing may have come that was not read yet
//	BODY        read up to and with the final dot, and note what it carried
//	CHUNK n     the next line must be BDAT with this, which may end in LAST; read as many octets, and note what the chunks
//	            of a message carried
//	EAT n       read n octets
//	S? text     the same; the client may be gone
//	WAIT        read until the client closes; it may say QUIT first
//	EOF         read until the client closes; it must say nothing more
//	DRAIN       read whatever comes until the client closes
//	STALL       do nothing, read nothing, until the test ends
//	TLS         make the handshake
//	PAUSE d     wait
//	RST         close so that the client sees a reset (over TCP)
//
// At its end the connection is closed.
type backend struct {
	name    string
	scripts [][]string
	cert    *tls.Certificate
	tcp     bool
	done    chan struct{} // closed when the test ends

	mu       sync.Mutex
	accepted int
	stopped  bool
	bodies   []string
	errs     []error
	conns    []net.Conn
	acting   int // connections whose script is at a line that waits for nobody
	wg       sync.WaitGroup
}

func (b *backend) serve(nc net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		_ = nc.Close()
		return
	}
	n := b.accepted
	b.accepted++
	b.conns = append(b.conns, nc)
	b.wg.Go(func() {
		p := &player{b: b, raw: nc, nc: nc, br: bufio.NewReaderSize(nc, 256<<10)}
		p.acts(true)
		defer func() {
			_ = nc.Close()
			p.acts(false)
		}()
		if n >= len(b.scripts) {
			b.fail(fmt.Errorf("%s: connection %d has no script", b.name, n+1))
			return
		}
		for i, line := range b.scripts[n] {
			p.acts(!slices.Contains(waiting, strings.Fields(line + " -")[0]))
			if err := p.play(line); err != nil {
				b.fail(fmt.Errorf("%s: connection %d: line %d, %q: %w", b.name, n+1, i+1, line, err))
				return
			}
		}
	})
}

func (b *backend) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, err)
}

// stop ends what goes on, and gives what went wrong.
func (b *backend) stop() error {
	close(b.done)
	b.mu.Lock()
	b.stopped = true // whoever comes late does not come while all are waited for
	b.mu.Unlock()
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.accepted < len(b.scripts) {
		b.errs = append(b.errs, fmt.Errorf("%s: %d connections, %d scripts", b.name, b.accepted, len(b.scripts)))
	}
	return errors.Join(b.errs...)
}

// settle waits until each connection's script is over, or waits for the client: over TCP what synctest.Wait is with pipes.
func (b *backend) settle() error {
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		n := b.acting
		b.mu.Unlock()
		if n == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %d connections are never at rest", b.name, n)
		}
	}
}

// waiting are the commands that wait for the client.
var waiting = []string{"C", "C+", "BODY", "CHUNK", "EAT", "WAIT", "EOF", "DRAIN", "STALL", "TLS"}

// player plays one script on one connection.
type player struct {
	b   *backend
	act bool
	raw net.Conn
	nc  net.Conn
	br  *bufio.Reader

	chunks bytes.Buffer // of the message that is coming
}

// acts notes whether the script is at a line that waits for nobody.
func (p *player) acts(now bool) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if now && !p.act {
		p.b.acting++
	} else if !now && p.act {
		p.b.acting--
	}
	p.act = now
}

func (p *player) play(line string) error {
	cmd, arg, _ := strings.Cut(line, " ")
	switch cmd {
	case "S", "S?":
		text := arg + "\r\n"
		if strings.HasPrefix(arg, `"`) {
			unquoted, err := strconv.Unquote(arg)
			if err != nil {
				return err
			}
			text = unquoted
		}
		_, err := io.WriteString(p.nc, text)
		if cmd == "S?" {
			return nil
		}
		return err
	case "C", "C+":
		if cmd == "C+" && p.br.Buffered() == 0 {
			return errors.New("did not come in the same write")
		}
		got, err := p.br.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read %q: %w", got, err)
		}
		if got != arg+"\r\n" {
			return fmt.Errorf("client said %.200q", got)
		}
	case "quiet":
		if n := p.br.Buffered(); n > 0 {
			rest, _ := p.br.Peek(n)
			return fmt.Errorf("client said too much: %.200q", rest)
		}
	case "BODY":
		return p.body()
	case "CHUNK":
		return p.chunk(arg)
	case "EAT":
		n, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		_, err = io.CopyN(io.Discard, p.br, int64(n))
		return err
	case "WAIT", "EOF":
		rest, err := io.ReadAll(p.br)
		if s := string(rest); s != "" && (cmd == "EOF" || s != "QUIT\r\n") {
			return fmt.Errorf("client said %.200q", s)
		}
		if err != nil && p.b.tcp {
			return nil // a reset is an end, too
		}
		return err
	case "DRAIN":
		_, _ = io.Copy(io.Discard, p.br)
	case "STALL":
		<-p.b.done
	case "TLS":
		secure := tls.Server(p.nc, &tls.Config{Certificates: []tls.Certificate{*p.b.cert}})
		if err := secure.Handshake(); err != nil {
			return nil //nolint:nilerr // the client's to judge
		}
		p.nc, p.br = secure, bufio.NewReaderSize(secure, 256<<10)
	case "PAUSE":
		d, err := time.ParseDuration(arg)
		if err != nil {
			return err
		}
		time.Sleep(d)
	case "RST":
		if t, ok := p.raw.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		return p.raw.Close()
	default:
		return errors.New("unknown command")
	}
	return nil
}

// body reads content, undoing the dots in another way than the relay put them: line by line.
func (p *player) body() error {
	var content bytes.Buffer
	for {
		line, err := p.br.ReadString('\n')
		if err != nil {
			return err
		}
		if line == ".\r\n" {
			break
		}
		content.WriteString(strings.TrimPrefix(line, "."))
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.b.bodies = append(p.b.bodies, content.String())
	return nil
}

// chunk reads a chunk.
func (p *player) chunk(arg string) error {
	line, err := p.br.ReadString('\n')
	if err != nil {
		return err
	}
	if line != "BDAT "+arg+"\r\n" {
		return fmt.Errorf("client said %.200q", line)
	}
	size, last := strings.CutSuffix(arg, " LAST")
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(&p.chunks, p.br, int64(n)); err != nil || !last {
		return err
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.b.bodies = append(p.b.bodies, p.chunks.String())
	p.chunks.Reset()
	return nil
}

// pipeNet is a network of in-memory connections with backends, by address.
type pipeNet map[string]*backend

func (n pipeNet) dial(_ context.Context, _, address string) (net.Conn, error) {
	b, ok := n[address]
	if !ok || len(b.scripts) == 0 {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	client, server := net.Pipe()
	b.serve(server)
	return client, nil
}

// listen serves b on loopback until the test ends, and gives the address.
func listen(t testing.TB, b *backend) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.tcp = true
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b.serve(nc)
		}
	})
	t.Cleanup(func() { _ = l.Close(); accepting.Wait() })
	if len(b.scripts) == 0 {
		_ = l.Close()
	}
	return l.Addr().String()
}

// certificate makes a self-signed certificate for the names, and its PEM form.
func certificate(t testing.TB, names ...string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<34, 0), DNSNames: names,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

//go:build accept

package accept

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestStartTLS sends messages with a connection and a STARTTLS each, and compares their rate, and what of processor time each
// takes of the gateway, with those of bare handshakes, which a server of Go's makes that does nothing else.
func TestStartTLS(t *testing.T) {
	bin := loadkit(t)
	s := startSink(t, bin)
	cert, key := certificate(t)
	p := startListener(t, s.addr, fmt.Sprintf("tls: {certificate: %q, key: %q}, limits: {per_client: 100}", cert, key), "filters: []\n")
	bare := crowd{Addr: peertest.FreeAddr(t), Do: crowdServe, Certificate: cert, Key: key}
	server := bare.command(t)
	peertest.Start(t, server)
	peertest.Await(t, bare.Addr)
	var rates, costs, bareRates, bareCosts, ofRates, ofCosts []float64
	for range 9 {
		rate, cost := shake(t, crowd{Addr: p.addr, N: 8, Do: crowdMail}, p.cmd.Process.Pid)
		bareRate, bareCost := shake(t, crowd{Addr: bare.Addr, N: 8, Do: crowdShake}, server.Process.Pid)
		rates, costs, ofRates = append(rates, rate), append(costs, cost), append(ofRates, rate/bareRate)
		bareRates, bareCosts, ofCosts = append(bareRates, bareRate), append(bareCosts, bareCost), append(ofCosts, cost/bareCost)
	}
	var g goals
	g.want(t, median(ofRates) >= 0.7, "0.7 of the bare rate", "%.2f of the rate of bare handshakes, less than 0.7", median(ofRates))
	table(t, "STARTTLS and a message of 4 KB for each connection, ECDSA", "go test -tags accept -run TestStartTLS ./internal/accept: 8 clients, 9 turns of a second each, medians",
		[]string{"server", "a second", "of the bare rate", "processor time of the server for 1000, s", "of the bare server's", "goals"},
		[][]string{
			{"handshakes and nothing else", fmt.Sprintf("%.0f", median(bareRates)), "1.00", fmt.Sprintf("%.2f", median(bareCosts)), "1.00", ""},
			{"postern", fmt.Sprintf("%.0f", median(rates)), fmt.Sprintf("%.2f", median(ofRates)), fmt.Sprintf("%.2f", median(costs)), fmt.Sprintf("%.2f", median(ofCosts)), g.String()},
		})
}

// shake lets a crowd work for a second, and gives how many it has made a second, and the processor time of the server
// for 1000 of them.
func shake(t *testing.T, c crowd, server int) (rate, cost float64) {
	t.Helper()
	cmd := c.command(t)
	before := processorTime(t, server)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", c.Do, err)
	}
	var g gathered
	if err := json.Unmarshal(out, &g); err != nil || g.Open == 0 || len(g.Failed) > 0 {
		t.Fatalf("%s: %v: %s", c.Do, err, out)
	}
	return float64(g.Open) / shakeTime.Seconds(), (processorTime(t, server) - before).Seconds() * 1000 / float64(g.Open)
}

const shakeTime = time.Second

// shake makes handshakes, and says how many.
func (c *crowd) shake() error {
	g := gathered{Failed: map[string]int{}}
	var done atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(shakeTime)
	for range c.N {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := c.shakeOnce(); err != nil {
					mu.Lock()
					g.Failed[err.Error()]++
					mu.Unlock()
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	g.Open = int(done.Load())
	return json.NewEncoder(os.Stdout).Encode(g)
}

func (c *crowd) shakeOnce() error {
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	mail := c.Do == crowdMail
	talk := func(code, line string) {
		if err == nil && mail {
			err = exchange(conn, code, line)
		}
	}
	talk("220", "")
	talk("250", "EHLO crowd.test\r\n")
	talk("220", "STARTTLS\r\n")
	if err != nil {
		return err
	}
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own certificate
	if err := secure.Handshake(); err != nil {
		return err
	}
	conn = secure
	talk("250", "EHLO crowd.test\r\n")
	talk("250 250 354", "MAIL FROM:<a@crowd.test>\r\nRCPT TO:<b@bench.test>\r\nDATA\r\n") // as Postfix and Exim do
	talk("250 221", fourKB+"QUIT\r\n")
	return err
}

var fourKB = string(hundredKB[:4093]) + "\r\n.\r\n"

// serveHandshakes makes handshakes until the process is ended.
func serveHandshakes(c crowd) error {
	cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", c.Addr, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = conn.(*tls.Conn).Handshake()
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/doctor"
	"github.com/postern-mail/postern/internal/peertest/exchange"
)

const patient = `
hostname: mx.example.org
listeners:
  public: {address: "127.0.0.1:2525", tls: {certificate: %[1]q, key: %[2]q}, limits: {message: 30MiB}}
  local: {address: "127.0.0.1:2526", limits: {message: 20MiB}}
routes:
  - {to: [example.org], upstream: exchange, recipients: callout}
  - {to: [box.example], upstream: box}
  - {to: ["*"], upstream: smarthost}
upstreams:
  exchange: {servers: [%[3]q], profile: exchange}
  smarthost: {servers: [%[4]q]}
  box: {maildir: /var/mail/postern}
dns: {servers: [%[5]q]}
filters: [dnsbl: {lists: {bl.example: {weight: 1}, names.example: {of: helo, weight: 1}}}]
`

const patientZone = `
mx.example.org A 192.0.2.25
25.2.0.192.in-addr.arpa PTR mx.example.org.
example.org MX 10 mx.example.org.
box.example MX 10 mx.example.org.
2.0.0.127.bl.example A 127.0.0.2
`

// doctorOf runs the command.
func doctorOf(t *testing.T, text string, o DoctorOptions) (out string, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		t.Fatal(err)
	}
	var failed *Exit
	if err = a.Doctor(t.Context(), o); errors.As(err, &failed) {
		code = failed.Code
		if failed.Err != nil {
			stdout.WriteString(failed.Err.Error())
		}
	} else if err != nil {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Errorf("on standard error: %s", stderr.String())
	}
	return stdout.String(), code
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	cert, key := writeCertificate(t, t.TempDir(), "mx.example.org")
	mailboxes := []string{"postmaster@example.org", "bob@example.org"}
	good := exchange.Start(t, exchange.Options{Mailboxes: mailboxes, PerSource: 500, Tarpit: 20 * time.Millisecond})
	bad := exchange.Start(t, exchange.Options{Internal: true, PerSource: 500, Lacks: []string{"8BITMIME"}, Tarpit: -1})
	z, err := zone.Serve(patientZone)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = z.Close() })
	lame, err := zone.Serve(strings.Replace(patientZone, "example.org MX 10 mx.example.org.", "example.org MX 10 192-0-2-1.isp.example.\n192-0-2-1.isp.example A 198.51.100.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lame.Close() })
	healthy := fmt.Sprintf(patient, cert, key, good.Addr, bad.Addr, z.Addr())
	sick := strings.Replace(fmt.Sprintf(patient, cert, key, bad.Addr, bad.Addr, lame.Addr()), "127.0.0.1:2525", ":2525", 1)
	for _, c := range []struct {
		name, text string
		o          DoctorOptions
		code       int
		want       []string
		without    []string
	}{
		{
			name: "one upstream, well", text: healthy, o: DoctorOptions{Upstream: "exchange"},
			want: []string{"exchange, " + good.Addr + " (exchange)\n  nothing found\n", "\n0 faults, 0 warnings, 0 notes\n"}, without: []string{"smarthost", "mx.example.org"},
		},
		{
			name: "all", text: healthy, code: ExitFindings,
			want: []string{"exchange, " + good.Addr + " (exchange)\n  nothing found\n", "smarthost, " + bad.Addr + " (exchange)\n", "mx.example.org, from outside\n  nothing found\n", "\n0 faults, 1 warning, 1 note\n"},
			// A smarthost relays, and a door on loopback needs no TLS.
			without: []string{"trusted", "listener-tls"},
		},
		{
			name: "sick", text: sick, code: ExitFindings,
			want: []string{
				"  warning 8bitmime: 8BITMIME is not among what it offers\n", "  fault   trusted: it took postern-doctor@example.com",
				"          > Exchange: A connector of its own", "example.org\n  fault   mx: none of its MX is this gateway: 192-0-2-1.isp.example\n",
				"listener public\n  warning certificate: " + cert + ": the certificate expires soon",
			},
			without: []string{"> Postfix", "> Dovecot"},
		},
		{name: "maildir", text: healthy, o: DoctorOptions{Upstream: "box"}, want: []string{"no server to talk to"}},
		{name: "no such upstream", text: healthy, o: DoctorOptions{Upstream: "x\x1b"}, code: ExitUsage, want: []string{"allowed: exchange, smarthost, box"}, without: []string{"\x1b"}},
		{name: "bad configuration", text: "hostname: 1\n", code: ExitConfig},
		{name: "bad authority", text: strings.Replace(healthy, "profile: exchange", "tls: verify, ca_file: /none", 1), code: ExitConfig, want: []string{"ca_file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, code := doctorOf(t, c.text, c.o)
			if code != c.code {
				t.Errorf("exit code %d, not %d", code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("no %q in\n%s", w, out)
				}
			}
			for _, w := range c.without {
				if strings.Contains(out, w) {
					t.Errorf("%q in\n%s", w, out)
				}
			}
			for line := range strings.SplitSeq(out, "\n") {
				if len(line) > reportWidth+20 && c.code <= ExitFindings {
					t.Errorf("a line of %d: %s", len(line), line)
				}
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		out, code := doctorOf(t, sick, DoctorOptions{JSON: true, Upstream: "exchange"})
		if code != ExitFindings {
			t.Errorf("exit code %d", code)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i, want := range []string{"warning 8bitmime", "fault unknown-taken", "fault trusted"} {
			var f struct {
				Code, Level, Where, Seen, Why, Software string
				Mend                                    doctor.Mend
			}
			if len(lines) != 3 {
				t.Fatalf("%d lines:\n%s", len(lines), out)
			}
			if err := json.Unmarshal([]byte(lines[i]), &f); err != nil {
				t.Fatal(err)
			}
			if f.Level+" "+f.Code != want || f.Software != "exchange" || f.Where != "exchange, "+bad.Addr || f.Seen == "" || f.Why == "" || f.Mend.Exchange == "" {
				t.Errorf("%s", lines[i])
			}
		}
	})
	for _, e := range []*exchange.Server{good, bad} {
		if n := len(e.Taken()); n > 0 {
			t.Errorf("%d messages were delivered", n)
		}
	}
}

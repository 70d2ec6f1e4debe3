package arc

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/internal/peertest"
)

// Valimail's suite stands beside the repository, not in it. It was written for a draft of RFC 8617. A case whose
// result differs is listed in testdata/suite.disputed with the result that comes out instead, and docs/filters/arc.md
// names it beside the sentence of the RFC that decides.

type suite struct {
	Tests      yaml.MapSlice     `yaml:"tests"` // one name stands twice
	Records    map[string]string `yaml:"txt-records"`
	Domain     string            `yaml:"domain"`
	Selector   string            `yaml:"sel"`
	PrivateKey string            `yaml:"privatekey"`

	cases []suiteCase
}

type suiteCase struct {
	name    string
	Message string `yaml:"message"`
	CV      string `yaml:"cv"`
	Time    int64  `yaml:"t"`
	Headers string `yaml:"sig-headers"`
	ID      string `yaml:"srv-id"`
	AS      string `yaml:"AS"`
	AMS     string `yaml:"AMS"`
	AAR     string `yaml:"AAR"`
}

func readSuite(t *testing.T, name string) []suite {
	t.Helper()
	f, err := os.Open(filepath.Join(peertest.Shared(t, "suites/arc/valimail"), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []suite
	for dec := yaml.NewDecoder(f, yaml.AllowDuplicateMapKey()); ; {
		var s suite
		err := dec.Decode(&s)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, item := range s.Tests {
			c := suiteCase{name: item.Key.(string)}
			text, err := yaml.Marshal(item.Value)
			if err == nil {
				err = yaml.Unmarshal(text, &c)
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", name, c.name, err)
			}
			s.cases = append(s.cases, c)
		}
		all = append(all, s)
	}
}

// crlf gives a message with the line ends of the wire.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// records answers TXT from a map; "!" is a server failure.
type records map[string]string

func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	switch text, ok := r[strings.ToLower(strings.TrimSuffix(name, "."))]; {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case text == "!":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	default:
		return []string{text}, nil
	}
}

func privateKey(t *testing.T, text string) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM block")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// disputed lists the cases of testdata/suite.disputed with what comes out instead.
func disputed(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/suite.disputed")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] != "#" {
			all[f[0]] = f[1]
		}
	}
	return all
}

func TestValidationSuite(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/filters/arc.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := disputed(t)
	ran, passed, names := 0, 0, map[string]bool{}
	for _, s := range readSuite(t, "arc-draft-validation-tests.yml") {
		for _, c := range s.cases {
			name := c.name
			names[name] = true
			ran++
			chain := validate(t, crlf(c.Message), records(s.Records))
			got, want := string(chain.Status), strings.ToLower(c.CV)
			instead, isListed := listed[name]
			switch {
			case got == want && isListed:
				t.Errorf("%s passes now: take it off the list", name)
			case got == want:
				passed++
			case !isListed:
				t.Errorf("%s: got %s (%s), want %s", name, got, chain.Reason, want)
			case got != instead:
				t.Errorf("%s is listed to give %s, and gives %s (%s)", name, instead, got, chain.Reason)
			case !strings.Contains(string(doc), "`"+name+"`"):
				t.Errorf("%s is disputed, and docs/filters/arc.md does not say so", name)
			}
			if testing.Verbose() && got != "pass" {
				t.Logf("%-30s %-5s %s", name, got, chain.Reason)
			}
		}
	}
	t.Logf("%d cases of %d names: %d give what the suite expects", ran, len(names), passed)
	if len(names) != 171 {
		t.Errorf("cases of %d names were read, not 171", len(names))
	}
	for name := range listed {
		if !names[name] {
			t.Errorf("%s is listed, and is no case", name)
		}
	}
}

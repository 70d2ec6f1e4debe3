package scanner

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/postern-mail/postern/filter"
)

// Web is the part of the options of filters that speak HTTP.
type Web struct {
	CAFile string `yaml:"ca_file"`
}

// WebPool gives the pool of a stage that speaks HTTP. path is that of a URL that has none, and secret what is sent to tell who
// asks: with another one, or other certificates, what is known of servers begins anew.
func (ps *Pools) WebPool(env filter.Env, kind string, c Config, w Web, path, secret string) (*Pool, error) {
	certs, digest, err := w.tls(kind)
	if err != nil {
		return nil, err
	}
	return ps.Pool(env, Options{
		Kind: kind, Config: c, HTTP: path, TLS: certs, Secrets: digest + fmt.Sprintf("%x", sha256.Sum256([]byte(secret))),
	})
}

// tls gives what https is checked by, nil for what the system has, and a digest of it.
func (w Web) tls(kind string) (*tls.Config, string, error) {
	if w.CAFile == "" {
		return nil, "", nil
	}
	b, err := os.ReadFile(w.CAFile)
	if err != nil {
		return nil, "", filter.At(fmt.Errorf("%s: ca_file: %w", kind, err), "ca_file")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, "", filter.At(fmt.Errorf("%s: ca_file: no certificate in %s", kind, w.CAFile), "ca_file")
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, fmt.Sprintf("%x", sha256.Sum256(b)), nil
}

// ReadSecret gives what stands in a file on one line, "" where there is no file.
func ReadSecret(kind, key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", filter.At(fmt.Errorf("%s: %s: %w", kind, key, err), key)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" || len(s) > 4096 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", filter.At(fmt.Errorf("%s: %s: %s must hold one line of ASCII", kind, key, file), key)
	}
	return s, nil
}

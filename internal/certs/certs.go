// Package certs reads the certificates of listeners, and gives each handshake those of the moment. It asks no
// authority for any, and judges no client.
package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// maxFile is how many octets a file may have.
const maxFile = 1 << 20

// Pair names the files of a certificate and its key.
type Pair struct {
	Place       string // where the configuration has it: "public", "public.sni[0]"
	Certificate string // PEM: the certificate, and behind it the chain of its issuers
	Key         string // PEM
}

// Certificate is what was read from a Pair.
type Certificate struct {
	Pair
	tls     tls.Certificate
	chain   []*x509.Certificate // in the order of the file
	keyMode fs.FileMode
	sum     [sha256.Size]byte // of both files
}

// Unreadable is the error for a file that can't be read.
type Unreadable struct {
	Path  string
	IsKey bool // it is the file of the key
	Err   error
}

// Error gives the cause, which names the file.
func (e *Unreadable) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Unreadable) Unwrap() error { return e.Err }

// Read reads a pair. An error that is no *Unreadable says that the files do not hold a certificate and the key that
// belongs to it, or that one of them ends in the middle, as it does while somebody writes it.
func Read(p Pair) (*Certificate, error) {
	certPEM, _, err := readFile(p.Certificate)
	if err != nil {
		return nil, &Unreadable{Path: p.Certificate, Err: err}
	}
	keyPEM, mode, err := readFile(p.Key)
	if err != nil {
		return nil, &Unreadable{Path: p.Key, IsKey: true, Err: err}
	}
	if err := whole(certPEM); err != nil {
		return nil, fmt.Errorf("certs: %s %w", p.Certificate, err)
	}
	if err := whole(keyPEM); err != nil {
		return nil, fmt.Errorf("certs: %s %w", p.Key, err)
	}
	if locked(keyPEM) {
		return nil, fmt.Errorf("certs: %s is protected by a passphrase, which nobody can give here", p.Key)
	}
	c := &Certificate{Pair: p, keyMode: mode}
	if c.tls, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return nil, fmt.Errorf("certs: %s with %s: %s", p.Certificate, p.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	for _, der := range c.tls.Certificate {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certs: %s: %w", p.Certificate, err)
		}
		c.chain = append(c.chain, x)
	}
	c.tls.Leaf = c.chain[0]
	a, b := sha256.Sum256(certPEM), sha256.Sum256(keyPEM)
	c.sum = sha256.Sum256(append(a[:], b[:]...))
	return c, nil
}

// TLS gives the certificate as handshakes take it.
func (c *Certificate) TLS() *tls.Certificate { return &c.tls }

// NotAfter is until when the certificate is valid.
func (c *Certificate) NotAfter() time.Time { return c.chain[0].NotAfter }

// Covers reports whether the certificate is for the name.
func (c *Certificate) Covers(name string) bool { return c.chain[0].VerifyHostname(name) == nil }

func readFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no file of certificates: it is too large")}
	}
	return data, info.Mode(), err
}

// whole gives an error where a file of PEM blocks has one that is not complete.
func whole(data []byte) error {
	begun := bytes.Count(append([]byte("\n"), data...), []byte("\n-----BEGIN "))
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		begun--
		data = rest
	}
	if begun > 0 {
		return errors.New("has a block that is not complete: is it being written?")
	}
	return nil
}

// locked reports whether a key needs a passphrase.
func locked(data []byte) bool {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
	}
	return false
}

// readPool reads a file of authorities, and its digest.
func readPool(path string) (*x509.CertPool, [sha256.Size]byte, error) {
	data, _, err := readFile(path)
	if err != nil {
		return nil, [sha256.Size]byte{}, &Unreadable{Path: path, Err: err}
	}
	if err := whole(data); err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("certs: %s %w", path, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, [sha256.Size]byte{}, fmt.Errorf("certs: %s holds no certificate in PEM form", path)
	}
	return pool, sha256.Sum256(data), nil
}

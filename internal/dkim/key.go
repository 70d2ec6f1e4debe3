package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

const (
	// MaxKeyRecord bounds a key record in octets: an RSA key of 8192 bits has some 1400.
	MaxKeyRecord = 4096
	// minRSA and maxRSA bound an RSA key in bits. RFC 8301 3.2: verifiers must not take less than 1024 for valid, and
	// must be able to take up to 4096. Who signs chooses the key, and so the price of the arithmetic.
	minRSA, maxRSA = 1024, 8192
)

// Key is a public key from a key record (RFC 6376 3.6.1).
type Key struct {
	Type    string // k=: "rsa" or "ed25519"
	Bits    int    // of the RSA modulus; 256 for Ed25519
	Testing bool   // t=y: the domain tests DKIM
	Strict  bool   // t=s: i= must not be of a subdomain
	public  crypto.PublicKey
}

// ParseKey reads a key record. The error, an *Error, says in words of RFC 6376 6.1.2 why there is no usable key.
func ParseKey(record string) (*Key, error) {
	if len(record) > MaxKeyRecord {
		return nil, permError(fmt.Sprintf("the key record has more than %d octets", MaxKeyRecord))
	}
	tags, err := ParseTags(record)
	if err != nil {
		return nil, permError("the key record: " + strings.TrimPrefix(err.Error(), "dkim: "))
	}
	if v, ok := tags.Get("v"); ok && (v != "DKIM1" || tags[0].Name != "v") {
		// RFC 6376 3.6.1: v= must be the first tag, and records with another value are discarded.
		return nil, permError("the key record is of an unknown version")
	}
	k := &Key{Type: "rsa"}
	if v, ok := tags.Get("k"); ok {
		k.Type = fold(v)
	}
	if h, ok := tags.Get("h"); ok && !lists(h, "sha256") {
		// RFC 6376 6.1.2: the key does not allow the hash.
		return nil, permError("the key is not for SHA-256")
	}
	if s, ok := tags.Get("s"); ok && !lists(s, "email") && !lists(s, "*") {
		// RFC 6376 3.6.1: a record for other services is ignored.
		return nil, permError("the key is not for email")
	}
	t, _ := tags.Get("t")
	k.Testing, k.Strict = lists(t, "y"), lists(t, "s")
	p, ok := tags.Get("p")
	switch {
	case !ok:
		return nil, permError("the key record has no p=")
	case p == "":
		// RFC 6376 3.6.1: an empty value means that the key was revoked.
		return nil, permError("the key is revoked")
	}
	data, ok := decodeBase64(p)
	if !ok {
		return nil, permError("p= of the key is no base64")
	}
	return k, k.read(data)
}

// parsed keeps keys by their records: a domain that sends much mail has its key read once. It is safe for concurrent use.
type parsed struct {
	mu   sync.Mutex
	keys map[string]*Key
}

// maxParsed is how many keys are kept; then all are let go. With records of MaxKeyRecord octets these are some 10 MB.
const maxParsed = 1024

var known parsed

// parse is ParseKey by way of what is known. The Key is not to be changed.
func (p *parsed) parse(record string) (*Key, error) {
	p.mu.Lock()
	k := p.keys[record]
	p.mu.Unlock()
	if k != nil {
		return k, nil
	}
	k, err := ParseKey(record)
	if err != nil {
		return k, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil || len(p.keys) >= maxParsed {
		p.keys = map[string]*Key{}
	}
	p.keys[strings.Clone(record)] = k
	return k, nil
}

// lists reports whether a colon-separated list holds an item, whatever its case.
func lists(list, item string) bool {
	for _, s := range splitList(list) {
		if fold(s) == item {
			return true
		}
	}
	return false
}

// read takes the octets of p=.
func (k *Key) read(data []byte) error {
	switch k.Type {
	case "rsa":
		// RFC 6376 3.6.1 says RSAPublicKey (RFC 8017 A.1.1) and shows SubjectPublicKeyInfo (RFC 5280 4.1): both are in use.
		parsed, err := x509.ParsePKIXPublicKey(data)
		public, ok := parsed.(*rsa.PublicKey)
		if err != nil || !ok {
			if public, err = x509.ParsePKCS1PublicKey(data); err != nil {
				return permError("p= is no RSA key")
			}
		}
		k.public, k.Bits = public, public.N.BitLen()
		switch {
		case k.Bits < minRSA:
			return permError(fmt.Sprintf("the RSA key has %d bits, less than %d", k.Bits, minRSA))
		case k.Bits > maxRSA:
			return permError(fmt.Sprintf("the RSA key has %d bits, more than %d", k.Bits, maxRSA))
		}
	case "ed25519":
		// RFC 8463 4.2: the 32 octets of the key, without ASN.1.
		if len(data) != ed25519.PublicKeySize {
			return permError("p= is no Ed25519 key")
		}
		if smallOrder([32]byte(data)) {
			return permError("with the Ed25519 key anybody can sign")
		}
		k.public, k.Bits = ed25519.PublicKey(data), 256
	default:
		// RFC 6376 3.6.1: unknown types of keys must be ignored.
		return permError("the key is of an unknown type")
	}
	return nil
}

// smallOrder reports whether a public key of Ed25519 is a point of small order, in any of its encodings, as p= of
// zeros only is: one signature then fits many messages, and needs no private key (RFC 8032 5.1.7 lets it pass).
func smallOrder(key [32]byte) bool {
	key[31] &= 0x7f // the sign
	switch hex.EncodeToString(key[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // y = 0, of order 4
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // the same as p
		"0100000000000000000000000000000000000000000000000000000000000000", // y = 1, of order 1
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // the same as p+1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = -1, of order 2
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // of order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": // of order 8
		return true
	}
	return false
}

// Verify checks a signature over a SHA-256 digest. algorithm is a=, in lower case. The error is an *Error: Fail where
// the signature does not match, PermError where it is not for such a key.
func (k *Key) Verify(algorithm string, digest, signature []byte) error {
	if name, _, _ := strings.Cut(algorithm, "-"); name != k.Type {
		// RFC 6376 6.1.2: the key is inappropriate for the algorithm.
		return permError("the key is of another type than a=")
	}
	ok := false
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		// RFC 6376 3.3.2: RSASSA-PKCS1-v1_5.
		ok = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
	case ed25519.PublicKey:
		// RFC 8463 3: PureEdDSA over the SHA-256 digest.
		ok = len(digest) == sha256.Size && ed25519.Verify(public, digest, signature)
	}
	if !ok {
		return &Error{Fail, "the signature does not match"}
	}
	return nil
}

// Matches reports whether the key verifies what the private key of public signs.
func (k *Key) Matches(public crypto.PublicKey) bool {
	own, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(public)
}

// Resolver is what is asked of the DNS; filter.Resolver is one. Errors are *net.DNSError where the DNS has answered.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// FetchKey asks for the key of a selector and a domain (RFC 6376 3.6.2), both A-labels. The error is an *Error; what is
// temporary is TempError. The key may be given with the error, if it could be read and is not acceptable.
//
// RFC 6376 3.6.2.2: the results are undefined if there are several records; 6.1.2 lets a verifier choose. Here the key is the one record
// that can be read as one: a domain whose wildcard answers every name with its SPF record has done nothing wrong, but
// which of two keys was meant is not ours to guess.
func FetchKey(ctx context.Context, r Resolver, selector, domain string) (*Key, error) {
	texts, err := r.LookupTXT(ctx, selector+"._domainkey."+domain)
	if err != nil {
		var de *net.DNSError
		switch {
		case ctx.Err() != nil:
			return nil, &Error{TempError, "no answer in time for the key"}
		case errors.As(err, &de) && de.IsNotFound:
			// RFC 6376 6.1.2: no key for signature.
			return nil, permError("there is no key")
		}
		return nil, &Error{TempError, "the key could not be asked for"} // which server failed stays in the house
	}
	var (
		key     *Key
		failure error
		usable  int
	)
	for _, text := range texts[:min(len(texts), maxRecords)] {
		k, err := known.parse(text)
		if err == nil {
			usable++
			key = k
		} else if failure == nil || k != nil {
			failure = err
			if usable == 0 {
				key = k
			}
		}
	}
	switch {
	case usable > 1 || len(texts) > maxRecords:
		return nil, permError("there is more than one key")
	case usable == 1:
		return key, nil
	case failure == nil:
		return nil, permError("there is no key")
	}
	return key, failure
}

// maxRecords bounds the TXT records that are looked at for one key.
const maxRecords = 10

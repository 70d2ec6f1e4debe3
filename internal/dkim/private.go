package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// PrivateKey is a key to sign with.
type PrivateKey struct {
	crypto.Signer
	Type    string // k= of its record: "rsa" or "ed25519"
	Bits    int    // of the RSA modulus; 256 for Ed25519
	Warning string // what speaks against the key; "" for nothing
}

// LoadPrivateKey reads a private key in PEM: PKCS#8 (RSA or Ed25519) or PKCS#1. It refuses keys that no verifier may
// take (RFC 8301 3.2), and warns of those that are shorter than signers should use. Errors quote nothing of the key.
func LoadPrivateKey(text []byte) (*PrivateKey, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("dkim: private key: no PEM block PRIVATE KEY or RSA PRIVATE KEY")
		}
		var (
			key any
			err error
		)
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("dkim: private key: it is encrypted, which is not supported")
		default:
			continue
		}
		if err != nil {
			return nil, errors.New("dkim: private key: malformed " + block.Type)
		}
		return newPrivateKey(key)
	}
}

func newPrivateKey(key any) (*PrivateKey, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		k := &PrivateKey{Signer: key, Type: "rsa", Bits: key.N.BitLen()}
		switch {
		case k.Bits < minRSA:
			return nil, fmt.Errorf("dkim: private key: the RSA key has %d bits, less than %d (RFC 8301 3.2)", k.Bits, minRSA)
		case k.Bits > maxRSA:
			return nil, fmt.Errorf("dkim: private key: the RSA key has %d bits, more than %d", k.Bits, maxRSA)
		case k.Bits < 2048:
			// RFC 8301 3.2: signers should use at least 2048 bits.
			k.Warning = fmt.Sprintf("the RSA key has %d bits; RFC 8301 3.2 asks for 2048", k.Bits)
		case k.Bits > 4096:
			// RFC 8301 3.2: verifiers must be able to take up to 4096 bits, and may take more.
			k.Warning = fmt.Sprintf("the RSA key has %d bits; RFC 8301 3.2 has verifiers take up to 4096", k.Bits)
		}
		return k, nil
	case ed25519.PrivateKey:
		return &PrivateKey{Signer: key, Type: "ed25519", Bits: 256}, nil
	}
	return nil, errors.New("dkim: private key: it is neither RSA nor Ed25519")
}

// Record gives the key record that a public key is published with (RFC 6376 3.6.1, RFC 8463 4.2): the text of a TXT
// record at SELECTOR._domainkey.DOMAIN, which the DNS holds in strings of at most 255 octets.
func Record(public crypto.PublicKey) (string, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return "", fmt.Errorf("dkim: key record: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public), nil
	}
	return "", errors.New("dkim: key record: the key is neither RSA nor Ed25519")
}

// Algorithm gives the value of a= for a key, and an error for a key that nobody may sign with. It is for DKIM and for ARC,
// whose algorithms are the same (RFC 8617 4.1.2, 4.1.3).
func Algorithm(key crypto.Signer) (string, error) {
	if key == nil {
		return "", errors.New("dkim: sign: no key")
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if n := public.N.BitLen(); n < minRSA {
			return "", fmt.Errorf("dkim: sign: the RSA key has %d bits, less than %d", n, minRSA)
		}
		return "rsa-sha256", nil
	case ed25519.PublicKey:
		return "ed25519-sha256", nil
	}
	return "", errors.New("dkim: sign: the key is neither RSA nor Ed25519")
}

// SignDigest signs a SHA-256 digest by the algorithm that Algorithm gives for the key.
func SignDigest(key crypto.Signer, digest []byte) ([]byte, error) {
	if _, ed := key.Public().(ed25519.PublicKey); ed {
		// RFC 8463 3: the digest is what PureEdDSA signs.
		return key.Sign(rand.Reader, digest, crypto.Hash(0))
	}
	return key.Sign(rand.Reader, digest, crypto.SHA256)
}

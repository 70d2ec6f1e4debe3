package offcrypto

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha1" //nolint:gosec // what Office writes
	"errors"
	"fmt"

	"github.com/postern-mail/postern/internal/archive"
)

// Algorithms of an EncryptionHeader (MS-OFFCRYPTO 2.3.2).
const (
	algRC4    = 0x6801
	algAES128 = 0x660e
	algAES192 = 0x660f
	algAES256 = 0x6610
)

// standardSpin is how often a password is hashed (MS-OFFCRYPTO 2.3.4.7).
const standardSpin = 50000

// cryptoAPI is an EncryptionHeader and its EncryptionVerifier (MS-OFFCRYPTO 2.3.2, 2.3.3).
type cryptoAPI struct {
	alg, keyBits   uint32
	salt, verifier []byte
	hash           []byte // the encrypted hash of the verifier
}

// parseCryptoAPI reads what follows the version of an EncryptionInfo.
func parseCryptoAPI(p []byte) (c cryptoAPI, err error) {
	short := errors.New("cut short")
	if len(p) < 8 {
		return c, short
	}
	size := le.Uint32(p[4:])
	p = p[8:]
	if size < 32 || int64(size) > int64(len(p)) {
		return c, short
	}
	header := p[:size]
	p = p[size:]
	c.alg, c.keyBits = le.Uint32(header[8:]), le.Uint32(header[16:])
	if len(p) < 4+16+16+4+20 || le.Uint32(p) != 16 {
		return c, short
	}
	c.salt, c.verifier, c.hash = p[4:20], p[20:36], p[40:]
	if c.alg == 0 {
		// MS-OFFCRYPTO 2.3.2: then the flags say it.
		if c.alg = algRC4; le.Uint32(header)&0x20 != 0 {
			c.alg = algAES128
		}
	}
	return c, nil
}

// standard opens what Office 2007 writes (MS-OFFCRYPTO 2.3.4.5 to 2.3.4.9).
func standard(ctx context.Context, p []byte, b *archive.Budget) (*cipherer, error) {
	c, err := parseCryptoAPI(p)
	if err != nil {
		return nil, err
	}
	keyLen := 0
	switch c.alg {
	case algAES128:
		keyLen = 16
	case algAES192:
		keyLen = 24
	case algAES256:
		keyLen = 32
	default:
		return nil, fmt.Errorf("%w: algorithm %#x", errForeign, c.alg)
	}
	if len(c.hash) < 32 {
		return nil, errors.New("cut short")
	}
	for _, password := range passwords {
		key, err := standardKey(ctx, c.salt, password, keyLen, b)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		decrypt := func(_ uint32, p []byte) {
			for ; len(p) > 0; p = p[aes.BlockSize:] {
				block.Decrypt(p, p)
			}
		}
		verifier, hash := bytes.Clone(c.verifier), bytes.Clone(c.hash[:32])
		decrypt(0, verifier)
		decrypt(0, hash)
		if sum := sha1.Sum(verifier); bytes.HasPrefix(hash, sum[:]) { //nolint:gosec // what Office writes
			return &cipherer{aes.BlockSize, decrypt}, nil
		}
	}
	return nil, errPassword
}

func standardKey(ctx context.Context, salt []byte, password string, n int, b *archive.Budget) ([]byte, error) {
	h := sha1.New() //nolint:gosec // what Office writes
	sum, err := spin(ctx, h, salt, password, standardSpin, b)
	if err != nil {
		return nil, err
	}
	h.Reset()
	h.Write(sum)
	h.Write(make([]byte, 4))
	sum = h.Sum(nil)
	var key []byte
	for _, pad := range []byte{0x36, 0x5c} {
		block := bytes.Repeat([]byte{pad}, 64)
		for i, c := range sum {
			block[i] ^= c
		}
		half := sha1.Sum(block) //nolint:gosec // what Office writes
		key = append(key, half[:]...)
	}
	return key[:n], nil
}

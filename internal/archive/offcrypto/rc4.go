package offcrypto

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // what Office writes
	"crypto/rc4"  //nolint:gosec // what Office writes
	"crypto/sha1" //nolint:gosec // what Office writes
	"errors"
	"fmt"
)

// rc4Block is how many octets of a workbook are encrypted with one key (MS-XLS 2.2.10).
const rc4Block = 1024

// workbookCipher finds the cipher that a FilePass record names (MS-XLS 2.4.117).
func workbookCipher(pass []byte) (recordCipher, error) {
	if len(pass) == 4 {
		// Before Excel 97 there was but one way.
		return xorCipher(le.Uint16(pass), le.Uint16(pass[2:]))
	}
	if len(pass) < 6 {
		return nil, errors.New("cut short")
	}
	if le.Uint16(pass) == 0 {
		return xorCipher(le.Uint16(pass[2:]), le.Uint16(pass[4:]))
	}
	major, minor := le.Uint16(pass[2:]), le.Uint16(pass[4:])
	switch {
	case major == 1 && minor == 1:
		return rc4Cipher(pass[6:])
	case major >= 2 && major <= 4 && minor == 2:
		return cryptoAPICipher(pass[6:])
	}
	return nil, errForeign
}

// rc4Cipher opens Office binary document RC4 encryption (MS-OFFCRYPTO 2.3.6).
func rc4Cipher(p []byte) (recordCipher, error) {
	if len(p) < 48 {
		return nil, errors.New("cut short")
	}
	salt := p[:16]
	for _, password := range passwords {
		first := md5.Sum(unicode(password)) //nolint:gosec // what Office writes
		second := md5.Sum(bytes.Repeat(append(first[:5:5], salt...), 16))
		key := func(block uint32) []byte {
			k := md5.Sum(le.AppendUint32(second[:5:5], block))
			return k[:]
		}
		verifier, hash := verify(key(0), p[16:32], p[32:48])
		if sum := md5.Sum(verifier); bytes.Equal(sum[:], hash) {
			return rc4Stream(key), nil
		}
	}
	return nil, errPassword
}

// cryptoAPICipher opens RC4 CryptoAPI encryption (MS-OFFCRYPTO 2.3.5).
func cryptoAPICipher(p []byte) (recordCipher, error) {
	c, err := parseCryptoAPI(p)
	if err != nil {
		return nil, err
	}
	if c.alg != algRC4 {
		return nil, fmt.Errorf("%w: algorithm %#x", errForeign, c.alg)
	}
	n := int(c.keyBits / 8)
	if c.keyBits == 0 {
		n = 5
	}
	if n < 5 || n > 16 {
		return nil, errors.New("key of wrong size")
	}
	for _, password := range passwords {
		first := sha1.Sum(append(bytes.Clone(c.salt), unicode(password)...)) //nolint:gosec // what Office writes
		key := func(block uint32) []byte {
			sum := sha1.Sum(le.AppendUint32(first[:len(first):len(first)], block))
			k := bytes.Clone(sum[:n])
			if n == 5 {
				k = append(k, make([]byte, 11)...) // MS-OFFCRYPTO 2.3.5.2: then it is filled up with zeros
			}
			return k
		}
		verifier, hash := verify(key(0), c.verifier, c.hash[:20])
		if sum := sha1.Sum(verifier); bytes.Equal(sum[:], hash) {
			return rc4Stream(key), nil
		}
	}
	return nil, errPassword
}

// verify decrypts a verifier and its hash, one after the other.
func verify(key, verifier, hash []byte) (v, h []byte) {
	v, h = bytes.Clone(verifier), bytes.Clone(hash)
	if c, err := rc4.NewCipher(key); err == nil {
		c.XORKeyStream(v, v)
		c.XORKeyStream(h, h)
	}
	return v, h
}

// rc4Stream decrypts at rising positions, with a new key for each block. What is not encrypted still uses up the
// octets of the key stream that would stand there.
func rc4Stream(key func(block uint32) []byte) recordCipher {
	var c *rc4.Cipher
	block, used := int64(-1), int64(0) // what c is for, and how much of it is gone
	var waste [rc4Block]byte
	return func(p []byte, pos int64, _ int) {
		for len(p) > 0 {
			if pos/rc4Block != block {
				block, used = pos/rc4Block, 0
				c, _ = rc4.NewCipher(key(uint32(block))) // the keys have a right size
			}
			off := pos % rc4Block
			c.XORKeyStream(waste[:off-used], waste[:off-used])
			n := min(int64(len(p)), rc4Block-off)
			c.XORKeyStream(p[:n], p[:n])
			p, pos, used = p[n:], pos+n, off+n
		}
	}
}

package offcrypto

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"math/bits"

	"github.com/postern-mail/postern/internal/archive"
)

var testSalt = []byte("0123456789abcdef")

func pad(p []byte, n int) []byte { return append(bytes.Clone(p), make([]byte, (n-len(p)%n)%n)...) }

// encryptAgile makes the two streams of an agile package.
func encryptAgile(plain []byte, password, alg, hashName string, keyBits, spins int) (info, body []byte) {
	blockSize := map[string]int{"AES": 16, "DES": 8, "3DES": 8}[alg]
	k := keyParams{blockSize, keyBits, alg, "ChainingModeCBC", hashName, testSalt}
	m, err := k.method()
	if err != nil {
		panic(err)
	}
	h := m.hash()
	hashed := func(parts ...[]byte) []byte {
		h.Reset()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	encrypt := func(key, iv, p []byte) []byte {
		c, err := m.cipher(fit(key, m.keyLen))
		if err != nil {
			panic(err)
		}
		p = pad(p, m.block)
		cipher.NewCBCEncrypter(c, fit(iv, m.block)).CryptBlocks(p, p)
		return p
	}
	secret := hashed(testSalt, unicode(password))
	for i := range spins {
		secret = hashed(le.AppendUint32(nil, uint32(i)), secret)
	}
	key := []byte("this is the key of the package itself, and long enough for all")[:m.keyLen]
	verifier := []byte("sixteen octets!!")
	text := func(block, p []byte) string {
		return base64.StdEncoding.EncodeToString(encrypt(hashed(secret, block), testSalt, p))
	}
	params := fmt.Sprintf(`saltSize="16" blockSize="%d" keyBits="%d" hashSize="%d" cipherAlgorithm="%s" cipherChaining="ChainingModeCBC" hashAlgorithm="%s" saltValue="%s"`,
		blockSize, keyBits, h.Size(), alg, hashName, base64.StdEncoding.EncodeToString(testSalt))
	info = append([]byte{4, 0, 4, 0, 0x40, 0, 0, 0}, fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<encryption xmlns="http://schemas.microsoft.com/office/2006/encryption" xmlns:p="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><keyData %s/><dataIntegrity encryptedHmacKey="" encryptedHmacValue=""/><keyEncryptors><keyEncryptor uri="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><p:encryptedKey spinCount="%d" %s encryptedVerifierHashInput="%s" encryptedVerifierHashValue="%s" encryptedKeyValue="%s"/></keyEncryptor></keyEncryptors></encryption>`,
		params, spins, params, text(verifierInputBlock, verifier), text(verifierHashBlock, hashed(verifier)), text(keyValueBlock, key))...)
	body = le.AppendUint64(nil, uint64(len(plain)))
	for i := 0; i*segment < len(plain); i++ {
		part := plain[i*segment : min(len(plain), (i+1)*segment)]
		body = append(body, encrypt(key, hashed(testSalt, le.AppendUint32(nil, uint32(i))), part)...)
	}
	return info, body
}

// encryptionHeader makes an EncryptionHeader with its EncryptionVerifier, as CryptoAPI uses them.
func encryptionHeader(alg, keyBits uint32, verifier, hash []byte) []byte {
	out := le.AppendUint32(nil, 0x24)
	header := make([]byte, 32)
	if alg != algRC4 {
		le.PutUint32(header, 0x24)
	}
	le.PutUint32(header[8:], alg)
	le.PutUint32(header[12:], 0x8004)
	le.PutUint32(header[16:], keyBits)
	header = append(header, unicode("Some Provider\x00")...)
	out = append(le.AppendUint32(out, uint32(len(header))), header...)
	out = append(le.AppendUint32(out, 16), testSalt...)
	out = append(out, verifier...)
	return append(le.AppendUint32(out, 20), hash...)
}

// encryptStandard makes the two streams of a standard package.
func encryptStandard(plain []byte, password string, alg uint32, keyLen int) (info, body []byte) {
	key, err := standardKey(context.Background(), testSalt, password, keyLen, archive.NewBudget(archive.Limits{}, 1))
	if err != nil {
		panic(err)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	encrypt := func(p []byte) []byte {
		p = pad(p, 16)
		for i := 0; i < len(p); i += 16 {
			c.Encrypt(p[i:], p[i:])
		}
		return p
	}
	verifier := []byte("sixteen octets!!")
	sum := sha1.Sum(verifier)
	info = append([]byte{4, 0, 2, 0}, encryptionHeader(alg, uint32(keyLen*8), encrypt(verifier), encrypt(sum[:]))...)
	return info, append(le.AppendUint64(nil, uint64(len(plain))), encrypt(plain)...)
}

// testBook is a workbook stream; pass is the content of its FilePass record, nil for none.
func testBook(pass []byte) []byte {
	record := func(id uint16, body []byte) []byte {
		return append(le.AppendUint16(le.AppendUint16(nil, id), uint16(len(body))), body...)
	}
	out := record(0x0809, make([]byte, 16))
	if pass != nil {
		out = append(out, record(recordFilePass, pass)...)
	}
	out = append(out, record(0x00e1, []byte{0xb0, 4})...)
	out = append(out, record(0x005c, bytes.Repeat([]byte("user "), 20))...)
	out = append(out, record(recordSheet, []byte("\x10\x00\x00\x00\x00\x00\x05\x00Sheet"))...)
	for i := range 40 {
		out = append(out, record(0x00fc, bytes.Repeat([]byte{byte(i)}, i*13))...)
	}
	out = append(out, record(0x003c, bytes.Repeat([]byte("long"), 2000))...)
	return append(out, record(recordEOF, nil)...)
}

// encryptBook encrypts the records of a workbook stream behind the FilePass record: crypt is given the octets, their
// position and the size of their record.
func encryptBook(pass []byte, crypt recordCipher) []byte {
	out := testBook(pass)
	seen := false
	for at := 0; at < len(out); {
		id, size := le.Uint16(out[at:]), int(le.Uint16(out[at+2:]))
		body := out[at+4 : at+4+size]
		switch {
		case !seen || id == 0x00e1:
			seen = seen || id == recordFilePass
		case id == recordSheet:
			crypt(body[4:], int64(at+8), size)
		default:
			crypt(body, int64(at+4), size)
		}
		at += 4 + size
	}
	return out
}

// naiveRC4 encrypts p at pos with the key of each octet's own block: slow, and too simple to be wrong.
func naiveRC4(key func(uint32) []byte) recordCipher {
	return func(p []byte, pos int64, _ int) {
		for i := range p {
			c, err := rc4.NewCipher(key(uint32((pos + int64(i)) / 1024)))
			if err != nil {
				panic(err)
			}
			stream := make([]byte, (pos+int64(i))%1024+1)
			c.XORKeyStream(stream, stream)
			p[i] ^= stream[len(stream)-1]
		}
	}
}

func rc4Book(password string) []byte {
	first := md5.Sum(unicode(password))
	var long []byte
	for range 16 {
		long = append(append(long, first[:5]...), testSalt...)
	}
	second := md5.Sum(long)
	key := func(n uint32) []byte {
		sum := md5.Sum(le.AppendUint32(bytes.Clone(second[:5]), n))
		return sum[:]
	}
	verifier := []byte("sixteen octets!!")
	sum := md5.Sum(verifier)
	v, h := verify(key(0), verifier, sum[:])
	pass := append([]byte{1, 0, 1, 0, 1, 0}, testSalt...)
	return encryptBook(append(append(pass, v...), h...), naiveRC4(key))
}

func cryptoAPIBook(password string, keyBits uint32) []byte {
	first := sha1.Sum(append(bytes.Clone(testSalt), unicode(password)...))
	key := func(n uint32) []byte {
		sum := sha1.Sum(le.AppendUint32(bytes.Clone(first[:]), n))
		if keyBits == 128 {
			return sum[:16]
		}
		return append(bytes.Clone(sum[:5]), make([]byte, 11)...)
	}
	verifier := []byte("sixteen octets!!")
	sum := sha1.Sum(verifier)
	v, h := verify(key(0), verifier, sum[:])
	return encryptBook(append([]byte{1, 0, 4, 0, 2, 0}, encryptionHeader(algRC4, keyBits, v, h)...), naiveRC4(key))
}

func xorBook(password string, old bool) []byte {
	key := xorKey(password)
	pass := le.AppendUint16(le.AppendUint16(nil, key), xorVerifier(password))
	if !old {
		pass = append([]byte{0, 0}, pass...)
	}
	array := xorArray(password, key)
	return encryptBook(pass, func(p []byte, pos int64, size int) {
		for i := range p {
			p[i] = bits.RotateLeft8(p[i], 5) ^ array[(int(pos)+i+size)%16]
		}
	})
}

package offcrypto

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"  //nolint:gosec // what Office writes
	"crypto/md5"  //nolint:gosec // what Office writes
	"crypto/sha1" //nolint:gosec // what Office writes
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// spinLimit is how often a password is hashed at most. Office does it 100000 times; MS-OFFCRYPTO 2.3.4.10 allows ten
// million, which would let a small file cost seconds.
const spinLimit = 1_000_000

// spinPrice is what hashing once costs the budget, in octets.
const spinPrice = 16

// keyLimit is how many ways to a package's key are tried. Office writes one.
const keyLimit = 4

// agileInfo is the XML of EncryptionInfo (MS-OFFCRYPTO 2.3.4.10).
type agileInfo struct {
	KeyData    keyParams `xml:"keyData"`
	Encryptors []struct {
		Keys []encryptedKey `xml:"encryptedKey"`
	} `xml:"keyEncryptors>keyEncryptor"`
}

// keyParams says how something is encrypted.
type keyParams struct {
	BlockSize int        `xml:"blockSize,attr"`
	KeyBits   int        `xml:"keyBits,attr"`
	Cipher    string     `xml:"cipherAlgorithm,attr"`
	Chaining  string     `xml:"cipherChaining,attr"`
	Hash      string     `xml:"hashAlgorithm,attr"`
	Salt      base64Text `xml:"saltValue,attr"`
}

// encryptedKey is the key of a package, encrypted with a password.
type encryptedKey struct {
	keyParams
	Spin          int        `xml:"spinCount,attr"`
	VerifierInput base64Text `xml:"encryptedVerifierHashInput,attr"`
	VerifierHash  base64Text `xml:"encryptedVerifierHashValue,attr"`
	Key           base64Text `xml:"encryptedKeyValue,attr"`
}

type base64Text []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *base64Text) UnmarshalText(text []byte) (err error) {
	*t, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	return err
}

// The keys of the blocks that are encrypted with a password (MS-OFFCRYPTO 2.3.4.13).
var (
	verifierInputBlock = []byte{0xfe, 0xa7, 0xd2, 0x76, 0x3b, 0x4b, 0x9e, 0x79}
	verifierHashBlock  = []byte{0xd7, 0xaa, 0x0f, 0x6d, 0x30, 0x61, 0x34, 0x4e}
	keyValueBlock      = []byte{0x14, 0x6e, 0x0b, 0xe7, 0xab, 0xac, 0xd0, 0xd6}
)

// agile opens what Office 2010 and later write.
func agile(ctx context.Context, text []byte, b *archive.Budget) (*cipherer, error) {
	var info agileInfo
	if err := xml.Unmarshal(text, &info); err != nil {
		return nil, err
	}
	data, err := info.KeyData.method()
	if err != nil {
		return nil, err
	}
	var keys []encryptedKey
	for _, e := range info.Encryptors {
		keys = append(keys, e.Keys...)
	}
	// A key that is encrypted for a certificate has no verifier.
	known := errForeign
	for i, k := range keys {
		if i == keyLimit {
			break
		}
		if len(k.VerifierInput) == 0 {
			continue
		}
		for _, password := range passwords {
			key, err := k.open(ctx, password, b)
			if err == nil {
				return info.KeyData.cipherer(data, key)
			}
			if !errors.Is(err, errPassword) && !errors.Is(err, errForeign) {
				return nil, err
			}
			if errors.Is(err, errPassword) {
				known = errPassword
			}
		}
	}
	return nil, known
}

// method is a block cipher and a hash.
type method struct {
	hash   func() hash.Hash
	cipher func(key []byte) (cipher.Block, error)
	keyLen int
	block  int
}

// method finds the algorithms. CBC alone is known of the ways to chain: no Office writes another one by itself.
func (k *keyParams) method() (m method, err error) {
	switch strings.ToUpper(strings.ReplaceAll(k.Hash, "-", "")) {
	case "SHA1":
		m.hash = sha1.New
	case "SHA256":
		m.hash = sha256.New
	case "SHA384":
		m.hash = sha512.New384
	case "SHA512":
		m.hash = sha512.New
	case "MD5":
		m.hash = md5.New
	default:
		return m, fmt.Errorf("%w: hash %.20q", errForeign, k.Hash)
	}
	m.keyLen = k.KeyBits / 8
	switch strings.ToUpper(k.Cipher) {
	case "AES":
		m.cipher, m.block = aes.NewCipher, aes.BlockSize
	case "DES":
		m.cipher, m.block, m.keyLen = des.NewCipher, des.BlockSize, 8
	case "3DES":
		m.cipher, m.block, m.keyLen = des.NewTripleDESCipher, des.BlockSize, 24
	default:
		return m, fmt.Errorf("%w: cipher %.20q", errForeign, k.Cipher)
	}
	if k.Chaining != "ChainingModeCBC" {
		return m, fmt.Errorf("%w: chaining %.20q", errForeign, k.Chaining)
	}
	if m.keyLen < 8 || m.keyLen > 64 || k.BlockSize != m.block || len(k.Salt) == 0 {
		return m, errors.New("key or block of wrong size")
	}
	return m, nil
}

// open decrypts the key with a password. The error is errPassword where it does not fit.
func (k *encryptedKey) open(ctx context.Context, password string, b *archive.Budget) ([]byte, error) {
	m, err := k.method()
	if err != nil {
		return nil, err
	}
	if k.Spin < 0 || k.Spin > spinLimit {
		return nil, fmt.Errorf("%w: hashed %d times", errForeign, k.Spin)
	}
	h := m.hash()
	secret, err := spin(ctx, h, k.Salt, password, k.Spin, b)
	if err != nil {
		return nil, err
	}
	decrypted := func(block, p []byte) ([]byte, error) {
		h.Reset()
		h.Write(secret)
		h.Write(block)
		c, err := m.cipher(fit(h.Sum(nil), m.keyLen))
		if err != nil {
			return nil, err
		}
		if len(p) == 0 || len(p)%m.block != 0 || len(p) > 1024 {
			return nil, errors.New("encrypted key of wrong size")
		}
		out := make([]byte, len(p))
		cipher.NewCBCDecrypter(c, fit(k.Salt, m.block)).CryptBlocks(out, p)
		return out, nil
	}
	input, err := decrypted(verifierInputBlock, k.VerifierInput)
	if err != nil {
		return nil, err
	}
	want, err := decrypted(verifierHashBlock, k.VerifierHash)
	if err != nil {
		return nil, err
	}
	h.Reset()
	h.Write(input)
	if !bytes.HasPrefix(want, h.Sum(nil)) {
		return nil, errPassword
	}
	return decrypted(keyValueBlock, k.Key)
}

// spin hashes a password many times (MS-OFFCRYPTO 2.3.4.7, 2.3.4.11).
func spin(ctx context.Context, h hash.Hash, salt []byte, password string, times int, b *archive.Budget) ([]byte, error) {
	if err := b.Spend(int64(times) * spinPrice); err != nil {
		return nil, err
	}
	h.Write(salt)
	h.Write(unicode(password))
	sum := h.Sum(nil)
	var count [4]byte
	for i := range times {
		if i%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		le.PutUint32(count[:], uint32(i))
		h.Reset()
		h.Write(count[:])
		h.Write(sum)
		sum = h.Sum(sum[:0])
	}
	return sum, nil
}

// fit makes a key of n octets of more or fewer.
func fit(p []byte, n int) []byte {
	out := bytes.Repeat([]byte{0x36}, n)
	copy(out, p)
	return out
}

// cipherer decrypts the package itself with its key (MS-OFFCRYPTO 2.3.4.15).
func (k *keyParams) cipherer(m method, key []byte) (*cipherer, error) {
	if len(key) < m.keyLen {
		return nil, errors.New("key of wrong size")
	}
	c, err := m.cipher(key[:m.keyLen])
	if err != nil {
		return nil, err
	}
	h := m.hash()
	return &cipherer{m.block, func(n uint32, p []byte) {
		h.Reset()
		h.Write(k.Salt)
		h.Write(le.AppendUint32(nil, n))
		cipher.NewCBCDecrypter(c, fit(h.Sum(nil), m.block)).CryptBlocks(p, p)
	}}, nil
}

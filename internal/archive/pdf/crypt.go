package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"slices"
)

// method is how a crypt filter encrypts (ISO 32000-2 7.6.6).
type method string

const (
	methodNone method = "None"
	methodRC4  method = "V2"
	methodAES  method = "AESV2"
	methodAES3 method = "AESV3"
)

// padding fills up a password (ISO 32000-1 7.6.3.3, algorithm 2); it is all that there is of an empty one.
const padding = "\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08" +
	"\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A"

// security is the encryption of a file, opened with the empty user password.
type security struct {
	key                       []byte
	stream, text, attachments method
	methods                   map[string]method // of crypt filters, by their names
	metadata                  bool
	dict                      place // of the encryption dictionary, whose strings are plain
}

// standard are the entries of the encryption dictionary of the standard security handler (ISO 32000-2 7.6.4.2).
type standard struct {
	version, revision, length int
	permissions               uint32
	owner, user, userKey      []byte
	id                        []byte
	metadata                  bool
}

// candidates gives the file keys that the empty user password may give: files say the length of their key in ways
// that differ.
func (s *standard) candidates() [][]byte {
	if s.revision >= 5 {
		return s.keys256()
	}
	lengths := []int{5}
	if s.revision >= 3 {
		lengths = []int{16, s.length / 8, s.length, 5}
	}
	var keys [][]byte
	for _, n := range lengths {
		if n < 5 || n > 16 {
			continue
		}
		if key := s.key(n); s.opens(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// key is algorithm 2 of ISO 32000-1 7.6.3.3.
func (s *standard) key(n int) []byte {
	h := md5.New()
	h.Write([]byte(padding))
	h.Write(s.owner[:min(32, len(s.owner))])
	h.Write(binary.LittleEndian.AppendUint32(nil, s.permissions))
	h.Write(s.id)
	if s.revision >= 4 && !s.metadata {
		h.Write([]byte{255, 255, 255, 255})
	}
	sum := h.Sum(nil)
	if s.revision >= 3 {
		for range 50 {
			again := md5.Sum(sum[:n])
			sum = again[:]
		}
	}
	return sum[:n]
}

// opens is algorithm 6 of ISO 32000-1 7.6.3.4.
func (s *standard) opens(key []byte) bool {
	if s.revision == 2 {
		return len(s.user) >= 32 && bytes.Equal(rc4Of(key, []byte(padding)), s.user[:32])
	}
	h := md5.New()
	h.Write([]byte(padding))
	h.Write(s.id)
	sum := rc4Of(key, h.Sum(nil))
	for i := 1; i <= 19; i++ {
		k := slices.Clone(key)
		for j := range k {
			k[j] ^= byte(i)
		}
		sum = rc4Of(k, sum)
	}
	return len(s.user) >= 16 && bytes.Equal(sum, s.user[:16])
}

func rc4Of(key, in []byte) []byte {
	c, err := rc4.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, len(in))
	c.XORKeyStream(out, in)
	return out
}

// keys256 is algorithm 2.A of ISO 32000-2 7.6.4.3.3.
func (s *standard) keys256() [][]byte {
	if len(s.user) < 48 || len(s.userKey) < 32 {
		return nil
	}
	hash := hashR6
	if s.revision == 5 {
		hash = func(salt []byte) []byte { sum := sha256.Sum256(salt); return sum[:] }
	}
	if !bytes.Equal(hash(s.user[32:40]), s.user[:32]) {
		return nil
	}
	block, err := aes.NewCipher(hash(s.user[40:48]))
	if err != nil {
		return nil
	}
	key := make([]byte, 32)
	cipher.NewCBCDecrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(key, s.userKey[:32])
	return [][]byte{key}
}

// hashR6 is algorithm 2.B of ISO 32000-2 7.6.4.3.4 for an empty password.
func hashR6(salt []byte) []byte {
	first := sha256.Sum256(salt)
	k := first[:]
	for round := 0; ; round++ {
		e := bytes.Repeat(k, 64)
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			return nil
		}
		cipher.NewCBCEncrypter(block, k[16:32]).CryptBlocks(e, e)
		mod := 0
		for _, c := range e[:16] {
			mod += int(c)
		}
		switch mod % 3 {
		case 0:
			sum := sha256.Sum256(e)
			k = sum[:]
		case 1:
			sum := sha512.Sum384(e)
			k = sum[:]
		default:
			sum := sha512.Sum512(e)
			k = sum[:]
		}
		if round >= 63 && int(e[len(e)-1]) <= round-31 {
			return k[:32]
		}
	}
}

// objectKey is algorithm 1 of ISO 32000-1 7.6.2: the key for what is in one object.
func (s *security) objectKey(m method, num int64, gen uint16) []byte {
	if m == methodAES3 {
		return s.key
	}
	b := slices.Clone(s.key)
	b = append(b, byte(num), byte(num>>8), byte(num>>16), byte(gen), byte(gen>>8))
	if m == methodAES {
		b = append(b, "sAlT"...)
	}
	sum := md5.Sum(b)
	return sum[:min(16, len(s.key)+5)]
}

// decryptText decrypts a string of an object.
func (s *security) decryptText(t string, num int64, gen uint16) string {
	switch s.text {
	case methodRC4:
		return string(rc4Of(s.objectKey(s.text, num, gen), []byte(t)))
	case methodAES, methodAES3:
		block, err := aes.NewCipher(s.objectKey(s.text, num, gen))
		in := []byte(t)
		if err != nil || len(in) < 2*aes.BlockSize || len(in)%aes.BlockSize != 0 {
			return ""
		}
		out := make([]byte, len(in)-aes.BlockSize)
		cipher.NewCBCDecrypter(block, in[:aes.BlockSize]).CryptBlocks(out, in[aes.BlockSize:])
		return string(unpad(out))
	}
	return t
}

// unpad takes the padding off (RFC 8018 6.1.1); where it is wrong, nothing.
func unpad(b []byte) []byte {
	if n := int(b[len(b)-1]); n >= 1 && n <= aes.BlockSize && n <= len(b) {
		return b[:len(b)-n]
	}
	return b
}

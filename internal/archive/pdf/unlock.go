package pdf

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rc4"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// maxTrailers is how many dictionaries that name an encryption are looked at.
const maxTrailers = 64

// unlock finds the encryption of the file, if there is one, and tries the empty user password.
func (w *walker) unlock() error {
	for i := len(w.trailers) - 1; i >= max(0, len(w.trailers)-maxTrailers); i-- {
		t, err := w.objectAt(w.trailers[i])
		if err != nil {
			return err
		}
		id, err := w.fileID(t)
		if err != nil {
			return err
		}
		found, err := w.resolveAll(t.value, "Encrypt", t)
		if err != nil {
			return err
		}
		for _, e := range found {
			if e.value.kind != dictionary {
				continue
			}
			why, err := w.tryKey(e, id)
			if err != nil {
				return err
			}
			if why != "" {
				w.locked = w.locked || w.security == nil
				if err := w.t.Sign(archive.Encrypted, "%s", why); err != nil {
					return err
				}
			}
		}
	}
	w.locked = w.locked && w.security == nil
	w.cache = nil // what it holds is as it was before there was a key
	return nil
}

// fileID gives the first part of the identifier of a trailer (ISO 32000-1 14.4).
func (w *walker) fileID(t *object) ([]byte, error) {
	id, err := w.last(t.value, "ID", t)
	if err != nil || id.kind != array || len(id.kids) == 0 {
		return nil, err
	}
	part, err := w.resolve(id.kids[0], t)
	if err != nil || len(part) == 0 {
		return nil, err
	}
	return []byte(part[len(part)-1].value.s), nil
}

// tryKey tries the empty password; why says, for people, what it did not open.
func (w *walker) tryKey(e *object, id []byte) (why string, err error) {
	get := func(key string) (v value) {
		if err == nil {
			v, err = w.last(e.value, key, e)
		}
		return v
	}
	s := &standard{id: id, metadata: true}
	handler := get("Filter").s
	s.version, s.revision, s.length = int(get("V").n), int(get("R").n), int(get("Length").n)
	s.permissions = uint32(get("P").n)
	s.owner, s.user, s.userKey = []byte(get("O").s), []byte(get("U").s), []byte(get("UE").s)
	for i := 0; i+1 < len(e.value.kids); i += 2 {
		if e.value.kids[i].s == "EncryptMetadata" {
			s.metadata = e.value.kids[i+1].n != 0
		}
	}
	sec := &security{metadata: s.metadata, methods: map[string]method{"Identity": methodNone}, dict: e.at}
	if err == nil {
		err = w.cryptFilters(sec, s, e)
	}
	switch {
	case err != nil:
		return "", err
	case handler != "Standard":
		return fmt.Sprintf("it is encrypted by %s", quote(handler)), nil
	case s.version < 1 || s.version == 3 || s.version > 5 || s.revision < 2 || s.revision > 6:
		return fmt.Sprintf("it is encrypted in a way that is not known (version %d, revision %d)", s.version, s.revision), nil
	}
	keys := s.candidates()
	if len(keys) == 0 {
		return "it can be opened with a password only", nil
	}
	if sec.key = keys[0]; w.security == nil {
		w.security = sec
	}
	return "", nil
}

// cryptFilters reads the crypt filters (ISO 32000-2 7.6.6).
func (w *walker) cryptFilters(sec *security, s *standard, e *object) error {
	if s.version < 4 {
		sec.stream, sec.text, sec.attachments = methodRC4, methodRC4, methodRC4
		return nil
	}
	filters, err := w.last(e.value, "CF", e)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(filters.kids) && i < 128; i += 2 {
		found, err := w.resolve(filters.kids[i+1], e)
		if err != nil {
			return err
		}
		for _, f := range found {
			m, err := w.last(f.value, "CFM", f)
			if err != nil {
				return err
			}
			sec.methods[filters.kids[i].s] = method(m.s)
		}
	}
	for _, use := range []struct {
		key string
		m   *method
	}{{"StmF", &sec.stream}, {"StrF", &sec.text}, {"EFF", &sec.attachments}} {
		v, err := w.last(e.value, use.key, e)
		if err != nil {
			return err
		}
		switch {
		case v.kind == name:
			*use.m = sec.methods[v.s]
		case use.key == "EFF":
			*use.m = sec.stream
		default:
			*use.m = methodNone
		}
	}
	return nil
}

// plaintext gives a string of an object as it is without the encryption.
func (w *walker) plaintext(v value, o *object) string {
	switch {
	case v.kind == text && w.locked && !o.plain:
		return ""
	case v.kind != text || w.security == nil || o.plain || o.num < 0 || o.at == w.security.dict:
		return v.s
	}
	return w.security.decryptText(v.s, o.num, o.gen)
}

var errLocked = errors.New("pdf: it is encrypted")

// decrypt puts the decryption before the octets of a stream.
func (w *walker) decrypt(r io.Reader, o *object, filters []string, parms []value) (io.Reader, error) {
	kind := o.value.get("Type").s
	if kind == "XRef" || w.security == nil && !w.locked {
		return r, nil
	}
	m := method("")
	if w.security != nil {
		m = w.security.stream
		if kind == "EmbeddedFile" {
			m = w.security.attachments
		}
		if kind == "Metadata" && !w.security.metadata {
			m = methodNone
		}
	}
	for i, f := range filters {
		if f == "Crypt" {
			by, err := w.last(parms[i], "Name", o)
			if err != nil {
				return nil, err
			}
			if by.kind != name || by.s == "Identity" {
				return r, nil
			}
			if w.security != nil {
				m = w.security.methods[by.s]
			}
		}
	}
	if w.locked {
		return nil, errLocked
	}
	key := w.security.objectKey(m, o.num, o.gen)
	switch m {
	case methodNone:
		return r, nil
	case methodRC4:
		c, err := rc4.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.StreamReader{S: c, R: r}, nil
	case methodAES, methodAES3:
		return newAESReader(r, key)
	}
	return nil, fmt.Errorf("pdf: the cipher %s is not known", quote(string(m)))
}

// aesReader decrypts AES in CBC mode whose first block is the initialization vector.
type aesReader struct {
	r     *bufio.Reader
	mode  cipher.BlockMode
	block [aes.BlockSize]byte
	have  []byte // of block, not yet read
	err   error
}

func newAESReader(r io.Reader, key []byte) (io.Reader, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	a := &aesReader{r: bufio.NewReader(r)}
	iv := make([]byte, aes.BlockSize)
	if _, a.err = io.ReadFull(a.r, iv); a.err == nil {
		a.mode = cipher.NewCBCDecrypter(c, iv)
	}
	return a, nil
}

func (a *aesReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(a.have) == 0 {
			if a.err == nil {
				a.next()
			}
			if len(a.have) == 0 {
				break
			}
		}
		c := copy(p[n:], a.have)
		a.have = a.have[c:]
		n += c
	}
	if n == 0 && len(p) > 0 {
		return 0, a.err
	}
	return n, nil
}

func (a *aesReader) next() {
	if _, a.err = io.ReadFull(a.r, a.block[:]); a.err != nil {
		return
	}
	a.mode.CryptBlocks(a.block[:], a.block[:])
	a.have = a.block[:]
	if _, err := a.r.Peek(1); err == io.EOF {
		a.have, a.err = unpad(a.block[:]), io.EOF
	}
}

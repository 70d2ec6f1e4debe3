package users

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/secure/precis"
)

// Hash is what is kept of a password: Argon2id (RFC 9106) with its parameters.
type Hash struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
	salt    string
	sum     string
}

// The bounds of hashes that are read. What they cost is paid for each login that anybody tries.
const (
	maxMemory   = 128 << 10 // KiB
	maxWork     = 1 << 20   // memory times passes: a second or so
	maxThreads  = 16
	minSalt     = 8
	minSum      = 16
	maxOctets   = 64 // of salt and sum
	maxPassword = 1024
)

// The parameters of new hashes: 19 MiB, two passes.
const (
	newMemory  = 19 << 10
	newTime    = 2
	newThreads = 1
	newSalt    = 16
	newSum     = 32
)

// errPassword says that a text can't be a password.
var errPassword = fmt.Errorf("a password has 1 to %d octets of UTF-8, and no control characters", maxPassword)

// prepare gives the octets that are hashed of a password: those of its one form in Unicode (RFC 8265 4.2).
func prepare(password string) ([]byte, error) {
	if password == "" || len(password) > maxPassword || !utf8.ValidString(password) {
		return nil, errPassword
	}
	s, err := precis.OpaqueString.String(password)
	if err != nil || len(s) > 4*maxPassword {
		return nil, errPassword
	}
	return []byte(s), nil
}

// NewHash hashes a password with a salt of its own.
func NewHash(password string) (Hash, error) {
	p, err := prepare(password)
	if err != nil {
		return Hash{}, fmt.Errorf("users: %w", err)
	}
	salt := make([]byte, newSalt)
	_, _ = rand.Read(salt) // never fails
	h := Hash{memory: newMemory, time: newTime, threads: newThreads, salt: string(salt)}
	h.sum = string(make([]byte, newSum))
	h.sum = string(h.sumOf(p))
	return h, nil
}

// matches reports whether a prepared password is the one. The time it takes is that of the hash's parameters.
func (h Hash) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.sumOf(password), []byte(h.sum)) == 1
}

// sumOf hashes a prepared password with the parameters of h.
func (h Hash) sumOf(password []byte) []byte {
	return argon2.IDKey(password, []byte(h.salt), h.time, h.memory, h.threads, uint32(len(h.sum)))
}

var b64 = base64.RawStdEncoding.Strict()

// String writes h in the PHC string format: $argon2id$v=19$m=19456,t=2,p=1$SALT$SUM.
func (h Hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		b64.EncodeToString([]byte(h.salt)), b64.EncodeToString([]byte(h.sum)))
}

// ParseHash reads a hash in the PHC string format.
func ParseHash(s string) (h Hash, err error) {
	parts := strings.Split(s, "$")
	switch {
	case len(parts) < 2 || parts[0] != "":
		return h, errors.New("a hash is needed, $argon2id$…: postern user makes it")
	case parts[1] != "argon2id":
		return h, fmt.Errorf("the hash is of the kind %.20q, and must be argon2id", parts[1])
	case len(parts) != 6 || parts[2] != fmt.Sprintf("v=%d", argon2.Version):
		return h, errors.New("the hash must have the form $argon2id$v=19$m=…,t=…,p=…$SALT$SUM")
	}
	if err := h.parameters(parts[3]); err != nil {
		return Hash{}, err
	}
	salt, err1 := b64.DecodeString(parts[4])
	sum, err2 := b64.DecodeString(parts[5])
	switch {
	case err1 != nil || err2 != nil:
		return Hash{}, errors.New("salt or sum of the hash is no base64 without padding")
	case len(salt) < minSalt || len(salt) > maxOctets || len(sum) < minSum || len(sum) > maxOctets:
		return Hash{}, fmt.Errorf("the hash must have a salt of %d to %d octets and a sum of %d to %d", minSalt, maxOctets, minSum, maxOctets)
	}
	h.salt, h.sum = string(salt), string(sum)
	return h, nil
}

// parameters reads m=…,t=…,p=….
func (h *Hash) parameters(s string) error {
	words := strings.Split(s, ",")
	var n [3]uint64
	for i, key := range []string{"m=", "t=", "p="} {
		if len(words) != 3 || !strings.HasPrefix(words[i], key) {
			return fmt.Errorf("the hash has the parameters %.40q, and must have m=…,t=…,p=…", s)
		}
		var err error
		if n[i], err = strconv.ParseUint(words[i][len(key):], 10, 32); err != nil {
			return fmt.Errorf("the hash has the parameters %.40q, and must have numbers", s)
		}
	}
	// RFC 9106 3.1: at least 8 KiB for each lane.
	switch m, t, p := n[0], n[1], n[2]; {
	case t < 1 || p < 1 || p > maxThreads || m < 8*p:
		return fmt.Errorf("the hash has the parameters %.40q: t and p must be 1 or more, p at most %d, m at least 8 times p", s, maxThreads)
	case m > maxMemory || m*t > maxWork:
		return fmt.Errorf("the hash has the parameters %.40q, and anybody could use up this host with it: m must be at most %d, m times t %d", s, maxMemory, maxWork)
	}
	h.memory, h.time, h.threads = uint32(n[0]), uint32(n[1]), uint8(n[2])
	return nil
}

// weak says what of a hash is weaker than it should be, "" for nothing.
func (h Hash) weak() string {
	// The memory and passes that a password hash of this kind has at least, whatever is traded for what.
	if uint64(h.memory)*uint64(h.time) < 32<<10 {
		return fmt.Sprintf("m=%d,t=%d takes a guesser too little work: postern user passwd makes a new hash", h.memory, h.time)
	}
	return ""
}

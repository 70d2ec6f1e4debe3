package users

import (
	"strings"
	"testing"
)

// Hashes that other programs have made: one is of the reference implementation's own tests, one of PHP.
func TestForeignHashes(t *testing.T) {
	for password, hash := range map[string]string{
		"password":        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"secret from PHP": "$argon2id$v=19$m=256,t=2,p=1$dS5ETFRYT2JJU01zMmxTNg$h+kYOQs4ZrR3LtZd4uVrrzqHJBQ/6nvesLgvB0l91R8",
	} {
		h, err := ParseHash(hash)
		if err != nil {
			t.Fatal(err)
		}
		if h.String() != hash {
			t.Errorf("%s is written as %s", hash, h)
		}
		if p, _ := prepare(password); !h.matches(p) {
			t.Errorf("%s: the password is wrong", hash)
		}
		if p, _ := prepare(password + "x"); h.matches(p) {
			t.Errorf("%s: another password is right", hash)
		}
	}
}

func TestNewHash(t *testing.T) {
	for _, password := range []string{"secret", "a b c", "pässwörd", strings.Repeat("x", maxPassword)} {
		h, err := NewHash(password)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseHash(h.String())
		if err != nil || again != h || h.weak() != "" {
			t.Errorf("%s, read again %s, %v, weak %q", h, again, err, h.weak())
		}
		other, _ := NewHash(password)
		if other.salt == h.salt {
			t.Error("two hashes have one salt")
		}
	}
	// RFC 8265 4.2: however it is typed.
	h, err := NewHash("p\u00e4ss\u00a0word")
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := prepare("pa\u0308ss word"); !h.matches(p) {
		t.Error("another form of the same password is wrong")
	}
	for _, bad := range []string{"", "a\x00b", "a\nb", "\xff", strings.Repeat("x", maxPassword+1)} {
		if _, err := NewHash(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range []string{cheap, "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc", "$argon2i$v=19$", "$$$$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		if err != nil {
			return
		}
		if again, err := ParseHash(h.String()); err != nil || again != h {
			t.Errorf("%q is %s, which is %v, %v", s, h, again, err)
		}
		if h.memory > maxMemory || uint64(h.memory)*uint64(h.time) > maxWork || h.threads > maxThreads || h.threads == 0 || h.time == 0 {
			t.Errorf("%q costs %+v", s, h)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	h, err := NewHash("secret")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h.matches([]byte("secret"))
	}
}

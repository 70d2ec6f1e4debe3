package offcrypto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
)

var document = bytes.Repeat([]byte("PK\x03\x04 a document of some length. "), 600)

func budget() *archive.Budget { return archive.NewBudget(archive.Limits{}, 100000) }

func TestPackage(t *testing.T) {
	type pair struct{ info, body []byte }
	agile := func(password, alg, hash string, keyBits, spins int) pair {
		info, body := encryptAgile(document, password, alg, hash, keyBits, spins)
		return pair{info, body}
	}
	standard := func(password string, alg uint32, keyLen int) pair {
		info, body := encryptStandard(document, password, alg, keyLen)
		return pair{info, body}
	}
	for name, p := range map[string]pair{
		"agile, of Excel 2016":       agile(excel, "AES", "SHA512", 256, 5000),
		"agile, of PowerPoint":       agile(powerPoint, "AES", "SHA512", 256, 1000),
		"agile, of Excel 2010":       agile(excel, "AES", "SHA1", 128, 1000),
		"agile, hash with a hyphen":  agile(excel, "AES", "SHA-256", 192, 1000),
		"agile, SHA-384":             agile(excel, "AES", "SHA384", 256, 0),
		"agile, key beyond the hash": agile(excel, "AES", "MD5", 256, 10),
		"agile, triple DES":          agile(excel, "3DES", "SHA512", 168, 10),
		"standard, 128 bits":         standard(excel, algAES128, 16),
		"standard, 192 bits":         standard(powerPoint, algAES192, 24),
		"standard, 256 bits":         standard(excel, algAES256, 32),
		"standard, by flags":         standard(excel, 0, 16),
	} {
		plain, sign, err := Package(context.Background(), p.info, archive.NewFile(p.body), budget())
		if err != nil || sign != nil || plain == nil {
			t.Errorf("%s: %v %v", name, sign, err)
			continue
		}
		if got, _ := io.ReadAll(plain.Reader()); !bytes.Equal(got, document) {
			t.Errorf("%s: %d octets, want %d", name, len(got), len(document))
		}
		// Cut short, what is there is given.
		plain, sign, err = Package(context.Background(), p.info, archive.NewFile(p.body[:9000]), budget())
		if err != nil || sign == nil || sign.Kind != archive.Unreadable || plain == nil || plain.Size() < 8900 {
			t.Errorf("%s, cut short: %v %v", name, sign, err)
		}
		plain, sign, err = Package(context.Background(), p.info, archive.NewFile(append(p.body, make([]byte, 9000)...)), budget())
		if err != nil || sign == nil || sign.Kind != archive.Unreadable || plain == nil {
			t.Errorf("%s, with more: %v %v", name, sign, err)
		}
	}
	for name, p := range map[string]pair{
		"agile, a password":    agile("secret", "AES", "SHA512", 256, 100),
		"standard, a password": standard("secret", algAES128, 16),
	} {
		plain, sign, err := Package(context.Background(), p.info, archive.NewFile(p.body), budget())
		if err != nil || sign == nil || sign.Kind != archive.Encrypted || plain != nil {
			t.Errorf("%s: %v %v", name, sign, err)
		}
	}
}

// Whatever an EncryptionInfo says, the package is called encrypted if it does not open, and costs little.
func TestPackageLimits(t *testing.T) {
	info, body := encryptAgile(document, excel, "AES", "SHA512", 256, 100)
	for name, edit := range map[string][2]string{
		"too many hashes":  {`spinCount="100"`, `spinCount="1000001"`},
		"negative":         {`spinCount="100"`, `spinCount="-1"`},
		"hash not known":   {`hashAlgorithm="SHA512"`, `hashAlgorithm="WHIRLPOOL"`},
		"cipher not known": {`cipherAlgorithm="AES"`, `cipherAlgorithm="RC2"`},
		"chaining":         {`ChainingModeCBC`, `ChainingModeCFB`},
		"block":            {`blockSize="16"`, `blockSize="1"`},
		"key":              {`keyBits="256"`, `keyBits="99999999"`},
		"no XML":           {`<keyData`, `<<`},
		"no key":           {`encryptedKey `, `other `},
		"salt":             {`saltValue="`, `saltValue="!`},
		"key value":        {`encryptedKeyValue="`, `encryptedKeyValue="AAAA`},
	} {
		bad := strings.ReplaceAll(string(info), edit[0], edit[1])
		plain, sign, err := Package(context.Background(), []byte(bad), archive.NewFile(body), budget())
		if err != nil || sign == nil || sign.Kind != archive.Encrypted || plain != nil {
			t.Errorf("%s: %v %v", name, sign, err)
		}
	}
	for _, version := range []string{"", "\x04\x00\x03\x00\x10\x00\x00\x00", "\x02\x00\x02\x00\x10\x00\x00\x00\xff\xff\xff\xff", "\x01\x00\x01\x00aaaaaaaaaaaaaa"} {
		if _, sign, err := Package(context.Background(), []byte(version), archive.NewFile(body), budget()); err != nil || sign.Kind != archive.Encrypted {
			t.Errorf("%q: %v %v", version, sign, err)
		}
	}
	small := archive.NewBudget(archive.Limits{Octets: 10000}, 1)
	if _, sign, err := Package(context.Background(), info, archive.NewFile(body), small); err != nil || sign.Kind != archive.Bomb {
		t.Errorf("out of budget: %v %v", sign, err)
	}
	slow, _ := encryptAgile(document, excel, "AES", "SHA512", 256, 1000)
	if _, sign, err := Package(context.Background(), slow, archive.NewFile(body), archive.NewBudget(archive.Limits{Octets: 10000}, 1)); err != nil || sign.Kind != archive.Bomb {
		t.Errorf("hashes out of budget: %v %v", sign, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Package(ctx, info, archive.NewFile(body), budget()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, _, err := Package(context.Background(), info, archive.FileAt(brokenAt{body}, int64(len(body))), budget()); !errors.Is(err, errBroken) {
		t.Errorf("broken: %v", err)
	}
}

var errBroken = errors.New("broken")

type brokenAt struct{ p []byte }

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off > 4096 {
		return 0, errBroken
	}
	return bytes.NewReader(b.p[:5000]).ReadAt(p, off)
}

func TestWorkbook(t *testing.T) {
	for name, book := range map[string][]byte{
		"RC4":                   rc4Book(excel),
		"RC4, CryptoAPI":        cryptoAPIBook(excel, 128),
		"RC4, CryptoAPI, short": cryptoAPIBook(excel, 40),
		"RC4, CryptoAPI, none":  cryptoAPIBook(excel, 0),
		"XOR":                   xorBook(excel, false),
		"XOR, Excel 95":         xorBook(excel, true),
	} {
		size := int(le.Uint16(book[22:]))
		want := testBook(make([]byte, size))
		want[20], want[21] = 0, 0
		plain, sign, err := Workbook(context.Background(), archive.NewFile(book), budget())
		if err != nil || sign != nil || plain == nil {
			t.Errorf("%s: %v %v", name, sign, err)
			continue
		}
		if got, _ := io.ReadAll(plain.Reader()); !bytes.Equal(got, want) {
			t.Errorf("%s: it is not what it was:\n%q\n%q", name, got[:200], want[:200])
		}
		// What is cut short is as long afterwards.
		for n := 24 + size; n < len(book); n += 97 {
			plain, sign, err := Workbook(context.Background(), archive.NewFile(book[:n]), budget())
			if err != nil || sign != nil || plain.Size() != int64(n) {
				t.Fatalf("%s, %d octets: %v %v", name, n, sign, err)
			}
			if got, _ := io.ReadAll(plain.Reader()); !bytes.Equal(got, want[:n]) {
				t.Errorf("%s, %d octets: it is not what it was", name, n)
			}
		}
	}
	for name, book := range map[string][]byte{
		"RC4":            rc4Book("secret"),
		"RC4, CryptoAPI": cryptoAPIBook("secret", 128),
		"XOR":            xorBook("secret", false),
		"not known":      testBook([]byte("\x01\x00\x09\x00\x09\x00")),
		"short":          testBook([]byte{1}),
		"empty":          testBook([]byte{}),
		"no salt":        testBook([]byte("\x01\x00\x01\x00\x01\x00")),
		"AES":            testBook(append([]byte{1, 0, 4, 0, 2, 0}, encryptionHeader(algAES128, 128, testSalt, make([]byte, 32))...)),
		"long key":       testBook(append([]byte{1, 0, 4, 0, 2, 0}, encryptionHeader(algRC4, 1<<31, testSalt, make([]byte, 32))...)),
	} {
		plain, sign, err := Workbook(context.Background(), archive.NewFile(book), budget())
		if err != nil || plain != nil || sign == nil || sign.Kind != archive.Encrypted {
			t.Errorf("%s: %v %v", name, sign, err)
		}
	}
	for _, book := range [][]byte{nil, testBook(nil), []byte("text"), {9, 8, 16}} {
		if plain, sign, err := Workbook(context.Background(), archive.NewFile(book), budget()); plain != nil || sign != nil || err != nil {
			t.Errorf("%.20q: %v %v", book, sign, err)
		}
	}
	if _, sign, err := Workbook(context.Background(), archive.NewFile(rc4Book(excel)), archive.NewBudget(archive.Limits{Octets: 10}, 1)); err != nil || sign.Kind != archive.Bomb {
		t.Errorf("out of budget: %v %v", sign, err)
	}
	if _, _, err := Workbook(context.Background(), archive.FileAt(brokenAt{rc4Book(excel)}, 100000), budget()); !errors.Is(err, errBroken) {
		t.Errorf("broken: %v", err)
	}
}

// The key and the verifier that Excel itself writes for its own password.
func TestXORKey(t *testing.T) {
	if k, v := xorKey(excel), xorVerifier(excel); k != 0xb359 || v != 0x9a0a {
		t.Errorf("%#x %#x", k, v)
	}
}

func TestFlags(t *testing.T) {
	fib := make([]byte, 32)
	if Word(fib) || Word(nil) {
		t.Error("encrypted")
	}
	if fib[11] = 1; !Word(fib) {
		t.Error("not encrypted")
	}
	user := []byte("\x00\x00\xf6\x0f\x14\x00\x00\x00\x14\x00\x00\x00\x5f\xc0\x91\xe3")
	if PowerPoint(user) || PowerPoint(nil) {
		t.Error("encrypted")
	}
	if copy(user[12:], "\xdf\xc4\xd1\xf3"); !PowerPoint(user) {
		t.Error("not encrypted")
	}
}

func FuzzPackage(f *testing.F) {
	for _, hash := range []string{"SHA1", "SHA512"} {
		info, body := encryptAgile(document[:5000], excel, "AES", hash, 128, 3)
		f.Add(info, body)
	}
	info, body := encryptStandard(document[:5000], excel, algAES128, 16)
	f.Add(info, body)
	f.Fuzz(func(t *testing.T, info, body []byte) {
		const limit = 400_000 // too little for 50000 hashes, which fuzzing has no time for
		b := archive.NewBudget(archive.Limits{Octets: limit}, 1)
		plain, sign, err := Package(context.Background(), info, archive.NewFile(body), b)
		check(t, plain, sign, err, int64(len(body)))
		if plain == nil && sign == nil {
			t.Fatal("neither opened nor a sign")
		}
	})
}

func FuzzWorkbook(f *testing.F) {
	for _, book := range [][]byte{rc4Book(excel), cryptoAPIBook(excel, 128), xorBook(excel, true), testBook(nil)} {
		f.Add(book)
	}
	f.Fuzz(func(t *testing.T, book []byte) {
		b := archive.NewBudget(archive.Limits{Octets: 4 << 20}, 1)
		plain, sign, err := Workbook(context.Background(), archive.NewFile(book), b)
		check(t, plain, sign, err, int64(len(book)))
		if plain != nil && sign == nil && plain.Size() != int64(len(book)) {
			t.Fatal("another length")
		}
	})
}

func check(t *testing.T, plain *archive.File, sign *archive.Sign, err error, most int64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if plain != nil && plain.Size() > most {
		t.Fatal("larger than what it was made of")
	}
	if sign != nil && fmt.Sprint(sign) == "" {
		t.Fatal("a sign without words")
	}
}

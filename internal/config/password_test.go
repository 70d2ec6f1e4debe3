package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPassword reads the files of passwords that there may be; no error quotes what stands in one.
func TestPassword(t *testing.T) {
	for name, c := range map[string]struct{ text, want, err string }{
		"bare":         {"open sesame", "open sesame", ""},
		"ended":        {"open sesame\n", "open sesame", ""},
		"CRLF":         {"open sesame\r\n", "open sesame", ""},
		"blanks":       {" open  sesame \n", " open  sesame ", ""},
		"UTF-8":        {"Größe\n", "Größe", ""},
		"long":         {strings.Repeat("p", maxCredential), strings.Repeat("p", maxCredential), ""},
		"empty":        {"", "", "holds no password"},
		"empty line":   {"\n", "", "holds no password"},
		"two lines":    {"sesame\nsesame\n", "", "must be one line"},
		"two ends":     {"sesame\n\n", "", "must be one line"},
		"bare CR":      {"sesame\r", "", "must be one line"},
		"CR inside":    {"ses\rame\n", "", "must be one line"},
		"NUL":          {"ses\x00ame\n", "", "without NUL"},
		"not UTF-8":    {"sesame\xff\n", "", "must be UTF-8"},
		"too long":     {strings.Repeat("sesame", maxCredential), "", "more than 1024 octets"},
		"without file": {"", "", "there is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p")
			if name != "without file" {
				if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := (&Auth{User: "u", PasswordFile: file}).Password()
			switch {
			case c.err == "" && (err != nil || got != c.want):
				t.Errorf("got %q, %v", got, err)
			case c.err != "" && (err == nil || got != "" || !strings.Contains(err.Error(), c.err)):
				t.Errorf("got %q, %v", got, err)
			case err != nil && strings.Contains(err.Error(), "ame"):
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

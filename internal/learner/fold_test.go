package learner

import "testing"

// TestHonestTextIsNoDisguise: what people write in their language is none, and is read as it stands.
func TestHonestTextIsNoDisguise(t *testing.T) {
	for name, text := range map[string]string{
		"Russian":   "Привет! Во вложении счёт и IT-договор, веб-site.",
		"endings":   "PDFки, USBшный, SMSкой и HTMLный и WINDOWSный",
		"Ukrainian": "Добрий день, рахунок її і e-mail",
		"Greek":     "Καλημέρα, η προσφορά της IBM για το server",
		"Japanese":  "TシャツとWindows版",
		"French":    "déjà vu, cœur, Été",
		"Persian":   "می\u200Cخواهم email",
	} {
		want := text
		if name == "Persian" {
			want = "میخواهم email"
		}
		if got, did := fold([]byte(text)); did != 0 || string(got) != want {
			t.Errorf("%s: disguises %b, %q", name, did, got)
		}
	}
	for text, want := range map[string]string{
		"Sınıfın ilk günü, kaçırmayın":                                            "Sinifin ilk günü, kaçirmayin",
		"Donau\u00ADdampf\u00ADschiff\u00ADfahrt, Über\u00ADgabe, Abend\u00ADrot": "Donaudampfschifffahrt, Übergabe, Abendrot",
		"\u00AD \u00AD x \u00ADy":                                                 "  x y",
	} {
		got, did := fold([]byte(text))
		if string(got) != want || did != 0 {
			t.Errorf("disguises %b, %q", did, got)
		}
	}
}

// TestDisguisesAreTold, and read as they look.
func TestDisguisesAreTold(t *testing.T) {
	for text, c := range map[string]struct {
		want string
		did  disguise
	}{
		"Vi\u0430gra":                           {"Viagra", mixed},
		"\u0420\u0430yp\u0430l":                 {"Paypal", mixed},
		"V\u03B9agr\u03B1 n\u03BFw":             {"Viagra now", mixed},
		"VIAGR\u0410":                           {"VIAGRA", mixed},
		"Viagr\u0430":                           {"Viagra", mixed},
		"\u0421lick":                            {"Click", mixed},
		"VIAGR\u0430 now":                       {"VIAGRa now", mixed},
		"CASIN\u043E":                           {"CASINo", mixed},
		"CREDI\u0442":                           {"CREDIt", mixed},
		"CASIN\u03BF":                           {"CASINo", mixed},
		"it's FRE\u0435!":                       {"it's FRE\u0435! FREe!", 0}, // as likely an ending: read both ways
		"SMS\u043A\u0430":                       {"SMS\u043A\u0430 SMSka", 0},
		"TNF\u03B1 and HTML\u0435":              {"TNF\u03B1 TNFa and HTML\u0435 HTMLe", 0},
		"t\u043E":                               {"to", 0}, // too short to tell
		"Vi\u0430gr\u0430\u044F":                {"Viagra\u044F", mixed},
		"\u0423\u043A\u0440\u0430i\u043D\u0430": {"\u0423\u043A\u0440\u0430i\u043D\u0430", mixed},
		"V\u00ADi\u00ADa\u00ADg\u00ADr\u00ADa":  {"Viagra", invisible},
		"V\u00ADiagra":                          {"Viagra", invisible},
		"viagr\u00ADa!":                         {"viagra!", invisible},
		"Via\u200Bgra":                          {"Viagra", invisible},
		"V\u0131agra":                           {"Viagra", 0},
		"\U0001D54F":                            {"X", styled},
	} {
		if got, did := fold([]byte(text)); did != c.did || string(got) != c.want {
			t.Errorf("%q: disguises %b, %q", text, did, got)
		}
	}
}

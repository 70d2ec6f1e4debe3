package eval

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// posternBrands knows well-known names in whose name others write.
var posternBrands = []Function{{"postern_brand", compileBrand}}

// brand is a name, or a few, that people trust.
type brand struct {
	names  string // in lower case, without what stands between their words
	key    string // how the name stands within hosts, "" where it is too short or too common a word
	common bool   // the names are words of their own, too: they count only where they stand alone
	orgs   string // its domains, beside those of its key at a country's or a general top level
}

// brands are those whose name is most often borrowed, worldwide and in some countries.
var brands = []brand{
	{"paypal", "paypal", false, "paypal-communication.com paypalobjects.com paypal.me"},
	{"amazon amazonprime", "amazon", false, "amazon.com amazonses.com amazonaws.com awsapps.com media-amazon.com ssl-images-amazon.com amazonpay.com amazonbusiness.com amazoncognito.com amazon.jobs awstrack.me"},
	{"aws", "", true, "amazon.com amazonaws.com"},
	{"apple applepay applestore applesupport", "", true, "apple.com icloud.com itunes.com"},
	{"appleid itunes icloud", "icloud", false, "apple.com icloud.com itunes.com icloud-content.com"},
	{"microsoft office365 microsoft365 ms365 onedrive sharepoint outlookweb outlook365 windowsdefender", "microsoft", false, "microsoft.com microsoftonline.com microsoftpersonalcontent.com office.com office365.com sharepoint.com live.com outlook.com msn.com hotmail.com onmicrosoft.com windows.com azure.com skype.com xbox.com sharepointonline.com microsoft365.com microsoftstream.com microsoftedge.com"},
	{"google googledrive googledocs googleplay googlepay gmail", "google", false, "google.com gmail.com youtube.com googlemail.com googleusercontent.com googleapis.com googlegroups.com googletagmanager.com google-analytics.com googleadservices.com googlesyndication.com googleblog.com withgoogle.com"},
	{"facebook", "facebook", false, "facebook.com facebookmail.com fb.com meta.com facebook.net"},
	{"instagram", "instagram", false, "instagram.com facebookmail.com facebook.com cdninstagram.com"},
	{"whatsapp", "whatsapp", false, "whatsapp.com facebook.com whatsapp.net"},
	{"metabusiness metasupport metaforbusiness metaads", "", false, "facebook.com facebookmail.com meta.com"},
	{"linkedin", "linkedin", false, "linkedin.com linkedinlabs.com"},
	{"twitter", "twitter", false, "twitter.com x.com"},
	{"tiktok", "tiktok", false, "tiktok.com tiktokv.com tiktokcdn.com"},
	{"telegram", "", true, "telegram.org"},
	{"netflix", "netflix", false, "netflix.com"},
	{"spotify", "spotify", false, "spotify.com spotifycdn.com spotify.link"},
	{"disneyplus", "disneyplus", false, "disneyplus.com disney.com"},
	{"ebay", "ebay", false, "ebay.com ebayimg.com ebaystatic.com ebaydesc.com ebay-kleinanzeigen.de"},
	{"docusign", "docusign", false, "docusign.net docusign.com"},
	{"dropbox", "dropbox", false, "dropbox.com dropboxmail.com dropboxusercontent.com dropboxstatic.com dropboxforum.com"},
	{"wetransfer", "wetransfer", false, "wetransfer.com"},
	{"adobesign", "adobe", false, "adobe.com adobesign.com echosign.com adobedtm.com"},
	{"adobe", "", true, "adobe.com adobesign.com echosign.com"},
	{"zoom", "", true, "zoom.us zoom.com"},
	{"intuit quickbooks turbotax", "quickbooks", false, "intuit.com quickbooks.com"},
	{"nortonlifelock norton360 nortonsecurity nortonantivirus", "nortonlifelock", false, "norton.com nortonlifelock.com gen.com symantec.com"},
	{"norton", "", true, "norton.com nortonlifelock.com gen.com symantec.com"},
	{"mcafee", "mcafee", false, "mcafee.com"},
	{"geeksquad bestbuy", "geeksquad", false, "bestbuy.com geeksquad.com"},
	{"godaddy", "godaddy", false, "godaddy.com secureserver.net"},
	{"protonmail protonme", "protonmail", false, "proton.me protonmail.com pm.me proton.ch"},
	{"yahoo", "yahoo", false, "yahoo.com yahooinc.com ymail.com yahoo-inc.com yahoogroups.com yahooapis.com yimg.com"},
	{"dhl", "dhl", false, "dhl.com dhl.de dpdhl.com deutschepost.de"},
	{"fedex", "fedex", false, "fedex.com"},
	{"ups", "", true, "ups.com"},
	{"usps uspostal uspostalservice", "usps", false, "usps.com usps.gov"},
	{"royalmail", "royalmail", false, "royalmail.com"},
	{"dpd gls hermespaket deutschepost laposte chronopost colissimo correos correios postnl swisspost posteitaliane bpost", "correios", false, "dpd.com dpd.de dpd.co.uk gls-group.com gls-group.eu gls-pakete.de myhermes.de deutschepost.de laposte.fr laposte.net laposte.info notif-colissimo-laposte.info chronopost.fr correos.es correios.com.br postnl.nl post.ch swisspost.ch posteitaliane.it poste.it bpost.be"},
	{"walmart", "walmart", false, "walmart.com walmartimages.com"},
	{"kohls lowes rossmann edeka rewe ikea", "", true, "kohls.com lowes.com rossmann.de edeka.de rewe.de ikea.com"},
	{"costco samsclub homedepot walgreens cvs acehardware harborfreight tractorsupply dickssportinggoods", "costco", false, "costco.com samsclub.com kohls.com homedepot.com lowes.com walgreens.com cvs.com acehardware.com harborfreight.com tractorsupply.com dickssportinggoods.com"},
	{"lidl aldi kaufland mediamarkt zalando dmdrogerie", "lidl", false, "lidl.de lidl.com aldi.de aldi-sued.de aldi-nord.de kaufland.de rewe.de edeka.de rossmann.de mediamarkt.de ikea.com ikea.de zalando.de otto.de dm.de"},
	{"temu shein aliexpress", "aliexpress", false, "temu.com temuemail.com shein.com sheinemail.com aliexpress.com"},
	{"wellsfargo", "wellsfargo", false, "wellsfargo.com"},
	{"bankofamerica", "bankofamerica", false, "bankofamerica.com bofa.com ml.com"},
	{"chase", "", true, "chase.com jpmorgan.com"},
	{"citibank citicards citigroup", "citibank", false, "citi.com citibank.com citicorp.com citigroup.com"},
	{"americanexpress amex", "americanexpress", false, "americanexpress.com aexp.com"},
	{"capitalone", "capitalone", false, "capitalone.com"},
	{"usbank suntrust wachovia washingtonmutual keybank fifththird regionsbank huntingtonbank charterone truist navyfederal", "suntrust", false, "usbank.com suntrust.com wachovia.com wamu.com key.com 53.com regions.com huntington.com charterone.com truist.com navyfederal.org"},
	{"hsbc barclays lloydsbank lloydstsb natwest halifaxbank monzo revolut", "hsbc", false, "hsbc.com hsbc.co.uk barclays.com barclays.co.uk lloydsbank.com lloydstsb.com lloydstsb.co.uk natwest.com nwolb.com halifax.co.uk nationwide.co.uk monzo.com revolut.com"},
	{"visa mastercard", "mastercard", true, "visa.com mastercard.com"},
	{"santander", "santander", false, "santander.com santander.com.br santander.co.uk santander.de santanderconsumer.at santanderconsumer.com santander.pl santanderbank.com"},
	{"bradesco livelo", "bradesco", false, "bradesco.com.br livelo.com.br"},
	{"itau itaú itaucard bancoitau", "itau", false, "itau.com.br itau-unibanco.com.br"},
	{"bancodobrasil caixaeconômica caixaeconomica caixafederal nubank mercadolivre mercadopago serasa receitafederal detran", "nubank", false, "bb.com.br caixa.gov.br nubank.com.br mercadolivre.com.br mercadolivre.com mercadopago.com mercadolibre.com serasa.com.br serasaexperian.com.br gov.br"},
	{"sparkasse kreissparkasse stadtsparkasse sparkassen volksbank volksbanken vrbank raiffeisen raiffeisenbank raiffeisenbanken", "", true, "sparkasse.de sparkasse.at volksbank.de volksbank.at vr.de raiffeisen.ch raiffeisen.at haspa.de naspa.de nospa.de ospa.de sskm.de 1822direkt.de lzo.com mbs.de apobank.de bbbank.de"}, // of each there are hundreds, at domains of their own
	{"deutschebank commerzbank postbank ingdiba comdirect dkb n26 targobank", "commerzbank", false, "deutsche-bank.de db.com sparkasse.de commerzbank.de commerzbank.com postbank.de volksbank.de vr.de raiffeisen.ch raiffeisen.at ing.de ing-diba.de comdirect.de dkb.de n26.com targobank.de"},
	{"créditagricole creditagricole", "", false, "credit-agricole.fr credit-agricole.com creditagricole.info ca-cib.com ca-assurances.com"},
	{"caissedépargne caissedepargne banquepopulaire", "", false, "caisse-epargne.fr banquepopulaire.fr bpce.fr groupebpce.fr"},
	{"bnpparibas sociétégénérale societegenerale banquepostale ameli impotsgouv", "ameli", false, "bnpparibas.net bnpparibas.com bnpparibasfortis.be societegenerale.fr labanquepostale.fr ameli.fr gouv.fr"},
	{"rabobank abnamro ingbank digid ubs creditsuisse postfinance unicredit intesasanpaolo bbva caixabank", "rabobank", false, "rabobank.nl abnamro.nl ing.nl digid.nl ubs.com credit-suisse.com postfinance.ch unicredit.it intesasanpaolo.com bbva.com bbva.es caixabank.es caixabank.com"},
	{"irs internalrevenueservice hmrc socialsecurityadministration", "", false, "irs.gov hmrc.gov.uk gov.uk ssa.gov"},
	{"coinbase", "coinbase", false, "coinbase.com"},
	{"binance", "binance", false, "binance.com binance.us"},
	{"metamask", "metamask", false, "metamask.io consensys.net"},
	{"trustwallet", "trustwallet", false, "trustwallet.com"},
	{"trezor kraken blockchaincom cryptocom opensea uniswap bittrex ftx ethereumfoundation ripplenet ledgerlive ledgernano ledgerwallet", "trezor", false, "trezor.io kraken.com blockchain.com crypto.com opensea.io uniswap.org bittrex.com ftx.com ethereum.org ripple.com ledger.com"},
	{"att verizon tmobile xfinity comcast vodafone telekom o2", "verizon", true, "att.com att-mail.com verizon.com verizonwireless.com t-mobile.com xfinity.com comcast.com comcast.net vodafone.com vodafone.de telekom.de o2.de o2online.de"},
	{"hellosign dropboxsign tinder steam roblox cocacola starbucks mcdonalds", "starbucks", true, "hellosign.com dropbox.com tinder.com gotinder.com steampowered.com roblox.com coca-cola.com coke.com starbucks.com mcdonalds.com"},
}

// brandTable finds brands by their names.
type brandTable struct {
	names   map[string]*brand
	keys    map[string][]*brand // by the first octets of their keys
	longest int                 // octets of a name
	lengths [1 << 11]uint32     // by beginHash, a bit for each length that names which begin so have
	inNames beginTable          // what names begin with
	inKeys  beginTable          // and keys
}

// keyBegin is how many octets of keys brandTable.keys knows them by. Shorter keys are none.
const keyBegin = 4

var brandIndex = sync.OnceValue(func() *brandTable {
	t := &brandTable{names: map[string]*brand{}, keys: map[string][]*brand{}}
	for i := range brands {
		b := &brands[i]
		for n := range strings.FieldsSeq(b.names) {
			t.names[n] = b
			t.longest = max(t.longest, len(n))
			t.lengths[beginHash([]byte(n))] |= 1 << min(len(n), 31)
			t.inNames.add(n)
		}
		if len(b.key) >= keyBegin {
			t.inKeys.add(b.key[:keyBegin])
			t.keys[b.key[:keyBegin]] = append(t.keys[b.key[:keyBegin]], b)
		}
	}
	return t
})

// beginOctets is how many octets of a name beginHash knows.
const beginOctets = 3

// beginHash is a hash of the first octets of a name, of all of them where it has fewer.
func beginHash(name []byte) (h uint32) {
	for _, c := range name[:min(len(name), beginOctets)] {
		h = h*59 + uint32(c)
	}
	return h % (1 << 11)
}

// begin reports whether a name may begin as this one does, and be as long at least.
func (t *brandTable) begin(name []byte) bool {
	return t.lengths[beginHash(name)]>>min(len(name), 31) != 0
}

// named gives the brand of a name, nil for none.
func (t *brandTable) named(name []byte) *brand {
	if t.lengths[beginHash(name)]>>min(len(name), 31)&1 == 0 {
		return nil
	}
	return t.names[string(name)]
}

// Bounds of what is searched for brands.
const (
	maxBrandText  = 16 << 10 // octets
	maxBrandWords = 4        // of one name
)

// brandWord is a word as brandsIn keeps it: where it begins, and whether a name may begin there.
type brandWord struct {
	at  int  // in words; -1: there is no word, or nothing in it
	may bool // no name is ruled out by its first octets
}

// brandsIn calls found with each brand that a text in any case names, and the name.
func brandsIn[T string | []byte](text T, found func(b *brand, name string) (more bool)) {
	var (
		index   = brandIndex()
		room    [512]byte
		words   = room[:0]               // letters and digits of the last words, of long ones as many as no name has
		last    [maxBrandWords]brandWord // the last words
		written bool                     // there is a word, if only of signs that do not count
		number  int                      // of words
		begin   int
	)
	for i := range last {
		last[i].at = -1
	}
	end := func() (more bool) {
		w := &last[number%maxBrandWords]
		if w.at = -1; begin < len(words) {
			*w = brandWord{begin, true}
		}
		for k := range min(number+1, maxBrandWords) {
			w := &last[(number-k)%maxBrandWords]
			if w.at < 0 || !w.may {
				continue
			}
			name := words[w.at:]
			if len(name) >= beginOctets {
				w.may = index.begin(name)
			}
			if !w.may {
				continue
			}
			if b := index.named(name); b != nil && !found(b, string(name)) {
				return false
			}
		}
		number++
		if len(words) > len(room)/2 { // those before the last need no place
			from := len(words)
			for i := range last {
				if last[i].may && last[i].at >= 0 {
					from = min(from, last[i].at)
				}
			}
			for i := range last {
				if last[i].at -= from; !last[i].may {
					last[i].at = -1
				}
			}
			words = words[:copy(words, words[from:])]
		}
		begin, written = len(words), false
		return true
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
			i += n
			if r = unicode.ToLower(r); unicode.IsLetter(r) {
				if written = true; len(words)-begin <= index.longest {
					words = utf8.AppendRune(words, r)
				}
				continue
			}
			if written && !end() {
				return
			}
			continue
		case signs[c]&(signLower|signDigit|signUpper) != 0:
			if written = true; len(words)-begin <= index.longest {
				words = append(words, lowerOctet[c])
			}
		case c == '\'':
			written = true
		case written && !end():
			return
		}
		i++
	}
	if written {
		end()
	}
}

// lowerOctet gives octets with letters of ASCII in lower case.
var lowerOctet = func() (t [256]byte) {
	for c := range t {
		if t[c] = byte(c); 'A' <= c && c <= 'Z' {
			t[c] |= 0x20
		}
	}
	return t
}()

// brandTail are words with which a sender's name says what of the brand writes.
var brandTail = wordSet(`the team support service services security account accounts alert alerts customer care online bank notification
	notifications notice noreply info inc reward rewards prime billing department help verification delivery express mail com de confirmation
	winner survey`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// aloneIn gives the brand that a text is nothing but the name of.
func aloneIn(text string) *brand {
	name := ""
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && (r < '0' || r > '9') }) {
		if !brandTail[w] {
			name += w
		}
	}
	return brandIndex().names[name]
}

// owns reports whether a host is the brand's.
func (b *brand) owns(host, org string) bool {
	for o := range strings.FieldsSeq(b.orgs) {
		if mail.Within(host, o) {
			return true
		}
	}
	l, top, _ := strings.Cut(org, ".")
	own := false
	for n := range strings.FieldsSeq(b.names) {
		own = own || n == l
	}
	return own && (top == "com" || top == "net" || top == "org" || len(top[strings.LastIndexByte(top, '.')+1:]) == 2 && !isCheap(org))
}

var accountWords = regexp.MustCompile(`(?i)\b(?:account|password|verif\w+|suspend\w*|limit\w*|security|sign.?in|log.?in|payment|invoice|order|billing|confirm\w*|update|alert|notice|notification|access|deliver\w*|parcel|package|gift|reward|bonus|win\w*|won|claim|expir\w+|cart\S{1,2}o|pontos|acesso|conta|konto|paket|gewinn\w*|gutschein|survey|id)\b`)

func compileBrand(_ *Settings, args []string) (Check, error) {
	looks := map[string]func(*Mail, *claims) string{
		"name": brandName(foreign), "house": brandName(perhapsHouse), "subject": brandSubject, "address": brandAddress, "links": brandLink, "text": brandText,
	}
	if len(args) != 1 || looks[args[0]] == nil {
		return nil, fmt.Errorf("eval: postern_brand looks at name, house, subject, address, links or text, not %q", args)
	}
	look := looks[args[0]]
	return func(m *Mail) (int, string) {
		c := m.claims()
		if c.list && (args[0] == "subject" || args[0] == "text") {
			return 0, "" // who speaks of a brand on a list does not speak as it
		}
		d := look(m, c)
		return yes(d != "", d)
	}, nil
}

// brandName looks for brands in the sender's name to which the sender stands in a relation.
func brandName(to relation) func(*Mail, *claims) string {
	return func(_ *Mail, c *claims) (detail string) {
		if c.name == "" {
			return ""
		}
		name := strings.ToLower(text.Plain(c.name))
		if b := aloneIn(name); b != nil {
			if c.relation(b) == to {
				return fmt.Sprintf("%s <%s>", c.name, c.address)
			}
			return ""
		}
		brandsIn(name, func(b *brand, _ string) bool {
			if !b.common && c.relation(b) == to {
				detail = fmt.Sprintf("%s <%s>", c.name, c.address)
			}
			return detail == ""
		})
		return detail
	}
}

func brandSubject(_ *Mail, c *claims) (detail string) {
	brandsIn(text.Plain(c.subject), func(b *brand, name string) bool {
		if !b.common && c.relation(b) == foreign {
			detail = name
		}
		return detail == ""
	})
	if detail != "" && !accountWords.MatchString(c.subject) {
		return ""
	}
	return detail
}

func brandAddress(_ *Mail, c *claims) string {
	if brandWithin(c.address, func(b *brand) bool { return len(b.key) >= 5 && !b.owns(c.host, c.org) }) {
		return c.address
	}
	return ""
}

func brandLink(_ *Mail, c *claims) string {
	for _, h := range c.hosts() {
		if h.org != c.org && brandWithin(h.host, func(b *brand) bool { return !b.owns(h.host, h.org) }) {
			return h.host
		}
	}
	return ""
}

// brandWithin reports whether the key of a brand that is meant stands in a host or an address: by itself, or as a part of a
// word where it is long enough that no other word has it.
func brandWithin(s string, meant func(*brand) bool) bool {
	index := brandIndex()
	for i := 0; i+keyBegin <= len(s); i++ {
		if !index.inKeys.may([keyBegin]byte{s[i], s[i+1], s[i+2], s[i+3]}) {
			continue
		}
		for _, b := range index.keys[s[i:i+keyBegin]] {
			if strings.HasPrefix(s[i:], b.key) && meant(b) && (hasLabelWord(s, b.key) || len(b.key) >= 6 && !otherWords.MatchString(s)) {
				return true
			}
		}
	}
	return false
}

// otherWords have a brand's name within, and nothing to do with it.
var otherWords = regexp.MustCompile(`amazon(?:a|as|ia|en|e)\b|amazonia|adobehouse|appleton|pineapple`)

// hasLabelWord reports whether a word stands in a host or an address between dots, hyphens and the like.
func hasLabelWord(host, word string) bool {
	return slices.Contains(strings.FieldsFunc(host, func(r rune) bool { return r == '.' || r == '-' || r == '@' || r == '_' || r == '+' }), word)
}

func brandText(m *Mail, c *claims) (detail string) {
	if len(c.links()) == 0 {
		return ""
	}
	p := m.prose()
	body := p.text[:min(len(p.text), maxBrandText)]
	var seen map[*brand]int
	note := func(b *brand, name string) bool {
		if seen == nil {
			seen = map[*brand]int{}
		}
		if seen[b]++; b.common || seen[b] != 2 || c.relation(b) != foreign {
			return true
		}
		if !slices.ContainsFunc(c.hosts(), func(h *webHost) bool { return b.owns(h.host, h.org) || b.house(h.org, false) }) {
			detail = name
		}
		return detail == ""
	}
	if p.ascii {
		namedIn(body, note)
	} else {
		brandsIn(body, note)
	}
	return detail
}

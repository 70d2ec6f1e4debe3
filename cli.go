package postern

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/app"
)

// program is one run of the command line.
type program struct {
	factories      []filter.Factory
	stdin          io.Reader
	stdout, stderr io.Writer
}

// commands is the grammar of the command line.
type commands struct {
	Config string `short:"c" default:"${config}" placeholder:"FILE" help:"The configuration (default: ${config})."`

	Serve serveCmd `cmd:"" help:"Run the gateway. HUP checks the configuration and swaps it in, TERM drains, a second TERM ends at once."`
	Check checkCmd `cmd:"" help:"Check the configuration, and say where it is wrong and what is allowed."`
	Scan  scanCmd  `cmd:"" help:"Run the filters on a message file and print the verdict. Exit: 0 deliver, 10 quarantine, 11 defer, 12 reject."`

	Explain    explainCmd    `cmd:"" help:"Show the decision about one message: each filter, what it found and what was changed; and where it waits."`
	Quarantine quarantineCmd `cmd:"" help:"List, show, release or remove held mail."`
	Queue      queueCmd      `cmd:"" help:"List, show, retry, hold, release, remove or export mail that waits in the spool."`
	Rules      rulesCmd      `cmd:"" help:"Check, list, explain, time and test rules in the language of SpamAssassin's .cf files."`
	Learn      learnCmd      `cmd:"" help:"Teach the learner spam and ham, and ask it: see the filter bayes."`
	ConfigShow configCmd     `cmd:"" name:"config" help:"Show the effective configuration."`
	Route      routeCmd      `cmd:"" help:"Explain where mail for recipients goes, and what a client that names them is told."`
	Flush      flushCmd      `cmd:"" help:"Let the running gateway forget what servers inside have said of recipients, and read their directory anew."`
	Doctor     doctorCmd     `cmd:"" help:"Talk to the servers inside, look from outside, and tell what will hurt and how to mend it. Delivers nothing. Exit: 0 nothing found, 1 something."`
	Demo       demoCmd       `cmd:"" help:"A complete gateway on loopback with sample mail: see what it does in ten seconds."`
	User       userCmd       `cmd:"" help:"Keep a file of users who may log in and send: add them, change passwords, list and check."`
	DKIMKey    dkimKeyCmd    `cmd:"" name:"dkim-key" help:"Make a key that signs mail, print its record for the DNS, or check what is published there."`
	Health     healthCmd     `cmd:"" help:"Ask a running gateway whether it is well (for container health checks)."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

type serveCmd struct{}

type checkCmd struct{}

type scanCmd struct {
	IP    string   `placeholder:"ADDR" help:"Address of the client that sent the message; without it SPF does not run."`
	Helo  string   `placeholder:"NAME" help:"Name that the client gave in HELO."`
	From  *string  `placeholder:"ADDR" help:"Reverse-path; '<>' is the null one. Without it the checks of MAIL do not run."`
	Rcpt  []string `placeholder:"ADDR" help:"Recipient: chooses the route and so the policy. May be repeated; what each gets is told."`
	Relay bool     `help:"The client may relay: checks of strangers do not run, and with --trace --out the message is signed."`
	JSON  bool     `name:"json" help:"Print JSON."`
	Out   string   `placeholder:"FILE" help:"Write the content after the edits to FILE; '-' is standard output, and the verdict goes to standard error then."`
	Trace bool     `help:"Print what each filter did; with --out, put the fields on top that the gateway would."`
	File  string   `arg:"" name:"MSG" help:"The message; '-' is standard input."`
}

type explainCmd struct {
	Log string `placeholder:"FILE" help:"Log of the gateway to look in ('-' is standard input), for mail that is neither held nor in the spool."`
	ID  string `arg:"" name:"ID" help:"Id from the SMTP reply, the log or the Received field."`
}

type quarantineCmd struct {
	Ls struct {
		JSON bool `name:"json" help:"Print JSON, one object a line."`
	} `cmd:"" help:"List what is held."`
	Show struct {
		ID      string `arg:"" name:"ID"`
		JSON    bool   `name:"json" help:"Print the record as JSON."`
		Content bool   `help:"Print the message itself, as it came."`
	} `cmd:"" help:"Show one record, or its message."`
	Release struct {
		ID []string `arg:"" name:"ID" help:"Ids of held mail."`
		To []string `placeholder:"ADDR" help:"Deliver to these recipients in place of the original ones."`

		NoLearn bool `help:"Do not teach the learner that this is wanted mail."`
	} `cmd:"" help:"Hand held mail to the upstream of its route, once."`
	Settle struct {
		ID           string `arg:"" name:"ID"`
		Delivered    bool   `xor:"end" required:"" help:"The message has arrived."`
		NotDelivered bool   `xor:"end" required:"" help:"It has not: it may be released again."`
	} `cmd:"" help:"End the doubt about a release that was cut short."`
	Rm struct {
		ID []string `arg:"" name:"ID"`
	} `cmd:"" help:"Remove held mail."`
}

// queueFilter and queueSelection are flags of several queue commands.
type (
	queueFilter struct {
		From     *string `placeholder:"ADDR" help:"Only of this reverse-path; '@DOMAIN' is any of the domain, '<>' the null one."`
		To       *string `placeholder:"ADDR" help:"Only for this recipient, who still waits; or '@DOMAIN'."`
		Upstream *string `placeholder:"NAME" help:"Only for this upstream."`
		State    *string `placeholder:"STATE" help:"Only in this state: active, deferred or hold."`
	}
	queueSelection struct {
		ID  []string `arg:"" optional:"" name:"ID" help:"Ids of messages."`
		All bool     `help:"All messages, or those that --from, --to, --upstream and --state mean."`
		queueFilter
	}
)

// filter gives what the flags say, where nil is no flag: one that is there and empty is a variable that was not set, and must not
// mean everything.
func (f *queueFilter) filter() app.QueueFlags {
	return app.QueueFlags{From: f.From, To: f.To, Upstream: f.Upstream, State: f.State}
}

func (s *queueSelection) selection() app.QueueSelection {
	return app.QueueSelection{IDs: s.ID, All: s.All, Flags: s.filter()}
}

type queueCmd struct {
	Ls struct {
		queueFilter
		Limit int    `placeholder:"N" default:"-1" help:"At most so many; 0 for all (default: 100, with --json all)."`
		After string `placeholder:"ID" help:"Begin behind this message; or behind the place that the end of a page names."`
		JSON  bool   `name:"json" help:"Print JSON, one object a line."`
	} `cmd:"" help:"List what waits, the oldest first."`
	Show struct {
		ID      string `arg:"" name:"ID"`
		JSON    bool   `name:"json" help:"Print JSON."`
		Content bool   `help:"Print the message itself, as it came."`
	} `cmd:"" help:"Show one message: its recipients, what servers said, when it is tried next."`
	Retry   queueSelection `cmd:"" help:"Try messages now. What is held stays held."`
	Hold    queueSelection `cmd:"" help:"Keep messages from being tried until they are released."`
	Release queueSelection `cmd:"" help:"Let held messages be tried again."`
	Rm      struct {
		queueSelection
		Yes      bool    `help:"With --all and no filter: yes, everything."`
		Exported *string `placeholder:"DIR" help:"The messages that an export has written to this folder; of them what --from, --to, --upstream and --state mean."`
	} `cmd:"" help:"Remove messages. Nobody is told."`
	Export struct {
		Dir string `arg:"" name:"DIR" help:"Folder, made where it is missing."`
		queueSelection
	} `cmd:"" help:"Write messages as they came (ID.eml) and what is known of them (ID.json) to a folder. They stay in the queue."`
}

// learnSources are arguments of learn spam and learn ham.
type learnSources struct {
	Forget bool     `help:"Take back what was learned of these messages, be it as spam or as ham."`
	DryRun bool     `help:"Only read the messages."`
	Source []string `arg:"" name:"SOURCE" help:"An mbox file, a Maildir, a folder of messages, a message; '-' is standard input."`
}

func (s *learnSources) options(spam bool) app.LearnOptions {
	return app.LearnOptions{Spam: spam, Sources: s.Source, Forget: s.Forget, DryRun: s.DryRun}
}

type learnCmd struct {
	Spam   learnSources `cmd:"" help:"Learn that all these messages are spam. What is known already is not learned twice; what was learned as ham is corrected."`
	Ham    learnSources `cmd:"" help:"Learn that all these messages are wanted."`
	Status struct {
		JSON bool `name:"json" help:"Print JSON."`
	} `cmd:"" help:"Show what was learned."`
	Export struct {
		File string `arg:"" name:"FILE" help:"File to write; '-' is standard output."`
	} `cmd:"" help:"Write all that was learned to a file, for another gateway to import."`
	Import struct {
		File string `arg:"" name:"FILE" help:"What another gateway has exported; '-' is standard input."`
	} `cmd:"" help:"Learn what another gateway has exported."`
	Explain struct {
		File string `arg:"" name:"FILE" help:"A message; '-' is standard input."`
	} `cmd:"" help:"Show what the learner says of a message, and which words weigh most."`
}

type configCmd struct {
	Show struct{} `cmd:"" help:"Print the configuration as it is understood, with its defaults."`
}

type routeCmd struct {
	From      string   `placeholder:"ADDR" help:"Reverse-path (default: the null one)."`
	Listener  string   `placeholder:"NAME" help:"The listener that is asked (default: the first; with --relay the first where clients may relay)."`
	Relay     bool     `help:"The client may relay."`
	JSON      bool     `name:"json" help:"Print JSON, one object a line."`
	Verbose   bool     `short:"v" help:"Tell also which routes were passed over, and why."`
	Addresses []string `arg:"" name:"ADDRESS" help:"Recipients, as in RCPT, with or without angle brackets; '-' reads them from standard input, one a line."`
}

type flushCmd struct {
	Addresses []string `arg:"" name:"ADDRESS" help:"Recipients, such as bob@example.org."`
}

type doctorCmd struct {
	JSON     bool   `name:"json" help:"Print JSON, one object for each finding a line."`
	Upstream string `arg:"" optional:"" name:"UPSTREAM" help:"Examine the servers of this upstream alone."`
}

type demoCmd struct {
	Once bool   `help:"End after the table in place of going on until ^C."`
	Dir  string `placeholder:"DIR" help:"Folder for the demo's state and mail (default: a new temporary one)."`
}

// userFile and userName are arguments of every user command.
type (
	userFile struct {
		File string `arg:"" name:"FILE" help:"The file of users, which relay.users of a listener names."`
	}
	userName struct {
		Name string `arg:"" name:"NAME" help:"What the user logs in with: a word, or an address."`
	}
	newPassword struct {
		Generate bool `help:"Make a random password and print it, in place of asking for one."`
	}
)

type userCmd struct {
	Add struct {
		userFile
		userName
		newPassword
		Send []string `placeholder:"WHOM" help:"As whom he may send: an address, a domain, '*.DOMAIN' for the domains below it, '*' for anybody. May be repeated. Default: NAME, if it is an address."`
		Rate []string `placeholder:"N/TIME" help:"How many recipients he may have in a time, such as 200/1h or 1000/1d, where the filter ratelimit runs. May be repeated."`
	} `cmd:"" help:"Add a user; the file is made where there is none. The password is asked for at a terminal, else it is the first line of standard input; it is never an argument."`
	Passwd struct {
		userFile
		userName
		newPassword
	} `cmd:"" help:"Give a user another password. All else of his line stays."`
	Rm struct {
		userFile
		Names []string `arg:"" name:"NAME" help:"Users to remove."`
	} `cmd:"" help:"Remove users."`
	Ls struct {
		userFile
		JSON bool `name:"json" help:"Print JSON, one object a line."`
	} `cmd:"" help:"List the users, as whom they may send, and how much."`
	Check struct {
		userFile
		Name string `arg:"" optional:"" name:"NAME" help:"Look also whether a password, which is asked for, is this user's."`
	} `cmd:"" help:"Check the file, and say where it is wrong or weak."`
}

type dkimKeyCmd struct {
	Domain   string `arg:"" optional:"" name:"DOMAIN" help:"Domain that signs (d=)."`
	Selector string `arg:"" optional:"" name:"SELECTOR" help:"Selector (s=), such as the year or the month: the next key has another."`
	Type     string `placeholder:"TYPE" enum:"rsa,ed25519" default:"rsa" help:"rsa (default), or ed25519, which not every receiver knows: sign with both."`
	Bits     int    `default:"2048" placeholder:"N" help:"Bits of an RSA key (default: ${default})."`
	Out      string `placeholder:"FILE" xor:"file" help:"File for the new key, which must not exist (default: DOMAIN.SELECTOR.pem)."`
	In       string `placeholder:"FILE" xor:"file" help:"Make no key: use the one in FILE."`
	Check    bool   `help:"Make no key: compare the record in the DNS with the key in --in FILE; without DOMAIN and SELECTOR, with every key of the configuration."`
}

type healthCmd struct {
	URL string `placeholder:"URL" help:"Address of /healthz (default: from the configuration)."`
}

type versionCmd struct{}

// run runs one command line and gives its exit code.
func (p *program) run(ctx context.Context, args []string) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("postern"),
		kong.Description("A front-end filtering gateway for mail: takes it in as the MX, runs it through filters, hands clean mail on."),
		kong.Vars{"config": app.DefaultConfig},
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintf(p.stderr, "postern: %v\n", err)
		return app.ExitSoftware
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		parser.Errorf("%s", err)
		return app.ExitUsage
	}
	a, err := app.New(app.Options{
		Config: c.Config, ConfigGiven: given(args), Factories: p.factories,
		Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr,
	})
	if err == nil {
		err = p.command(ctx, a, &c, parsed.Command())
	}
	return p.code(err)
}

// given reports whether the command line names a configuration.
func given(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "-c" || a == "--config" || strings.HasPrefix(a, "--config=") || strings.HasPrefix(a, "-c") && !strings.HasPrefix(a, "--") {
			return true
		}
	}
	return false
}

// command runs the parsed command.
func (p *program) command(ctx context.Context, a *app.App, c *commands, name string) error {
	verb, _, _ := strings.Cut(name, " <")
	if strings.HasPrefix(verb, "queue ") || strings.HasPrefix(verb, "learn ") {
		// Who ends a long command is told how far it has come; a second signal ends it at once.
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)
	}
	if strings.HasPrefix(verb, "rules ") {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return c.Rules.run(ctx, a, verb)
	}
	switch verb {
	case "serve":
		// One HUP that waits stands for all: the files are read when it is its turn.
		reloads, ends := make(chan os.Signal, 1), make(chan os.Signal, 2)
		signal.Notify(reloads, syscall.SIGHUP)
		signal.Notify(ends, syscall.SIGTERM, os.Interrupt)
		defer signal.Stop(reloads)
		defer signal.Stop(ends)
		return a.Serve(ctx, reloads, ends)
	case "demo":
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return a.Demo(ctx, app.DemoOptions{Once: c.Demo.Once, Dir: c.Demo.Dir})
	case "check":
		return a.Check()
	case "doctor":
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return a.Doctor(ctx, app.DoctorOptions{Upstream: c.Doctor.Upstream, JSON: c.Doctor.JSON})
	case "scan":
		return a.Scan(ctx, app.ScanOptions{
			IP: c.Scan.IP, Helo: c.Scan.Helo, From: c.Scan.From, Rcpt: c.Scan.Rcpt, Relay: c.Scan.Relay,
			JSON: c.Scan.JSON, Out: c.Scan.Out, Trace: c.Scan.Trace, File: c.Scan.File,
		})
	case "explain":
		return a.Explain(ctx, c.Explain.ID, c.Explain.Log)
	case "quarantine ls":
		return a.QuarantineList(c.Quarantine.Ls.JSON)
	case "quarantine show":
		return a.QuarantineShow(c.Quarantine.Show.ID, c.Quarantine.Show.JSON, c.Quarantine.Show.Content)
	case "quarantine release":
		return a.QuarantineRelease(ctx, c.Quarantine.Release.ID, c.Quarantine.Release.To, c.Quarantine.Release.NoLearn)
	case "quarantine settle":
		return a.QuarantineSettle(c.Quarantine.Settle.ID, c.Quarantine.Settle.Delivered)
	case "quarantine rm":
		return a.QuarantineRemove(c.Quarantine.Rm.ID)
	case "queue ls":
		l := c.Queue.Ls
		return a.QueueList(ctx, app.QueueListOptions{Flags: l.filter(), After: l.After, Limit: l.Limit, JSON: l.JSON})
	case "queue show":
		return a.QueueShow(ctx, c.Queue.Show.ID, c.Queue.Show.JSON, c.Queue.Show.Content)
	case "queue retry":
		return a.QueueRetry(ctx, c.Queue.Retry.selection())
	case "queue hold":
		return a.QueueHold(ctx, c.Queue.Hold.selection())
	case "queue release":
		return a.QueueRelease(ctx, c.Queue.Release.selection())
	case "queue rm":
		s := c.Queue.Rm.selection()
		if dir := c.Queue.Rm.Exported; dir != nil {
			if s.Exported = *dir; *dir == "" {
				return &app.Exit{Code: app.ExitUsage, Err: errors.New("postern: --exported is empty")}
			}
		}
		return a.QueueRemove(ctx, s, c.Queue.Rm.Yes)
	case "queue export":
		return a.QueueExport(ctx, c.Queue.Export.Dir, c.Queue.Export.selection())
	case "learn spam":
		return a.Learn(ctx, c.Learn.Spam.options(true))
	case "learn ham":
		return a.Learn(ctx, c.Learn.Ham.options(false))
	case "learn status":
		return a.LearnStatus(ctx, c.Learn.Status.JSON)
	case "learn export":
		return a.LearnExport(ctx, c.Learn.Export.File)
	case "learn import":
		return a.LearnImport(ctx, c.Learn.Import.File)
	case "learn explain":
		return a.LearnExplain(ctx, c.Learn.Explain.File)
	case "config show":
		return a.ConfigShow()
	case "route":
		r := c.Route
		return a.Route(ctx, app.RouteOptions{
			Addresses: r.Addresses, From: r.From, Listener: r.Listener, Relay: r.Relay, JSON: r.JSON, Verbose: r.Verbose,
		})
	case "flush":
		return a.Flush(ctx, c.Flush.Addresses)
	case "user add":
		u := c.User.Add
		return a.UserAdd(app.UserOptions{File: u.File, Name: u.Name, Send: u.Send, Rate: u.Rate, Generate: u.Generate})
	case "user passwd":
		u := c.User.Passwd
		return a.UserPassword(app.UserOptions{File: u.File, Name: u.Name, Generate: u.Generate})
	case "user rm":
		return a.UserRemove(c.User.Rm.File, c.User.Rm.Names)
	case "user ls":
		return a.UserList(c.User.Ls.File, c.User.Ls.JSON)
	case "user check":
		return a.UserCheck(c.User.Check.File, c.User.Check.Name)
	case "dkim-key":
		k := c.DKIMKey
		return a.DKIMKey(ctx, app.DKIMKeyOptions{
			Domain: k.Domain, Selector: k.Selector, Type: k.Type, Bits: k.Bits, Out: k.Out, In: k.In, Check: k.Check,
		})
	case "health":
		return a.Health(ctx, c.Health.URL)
	case "version":
		return a.Version()
	}
	return fmt.Errorf("postern: no command %q", verb)
}

// code prints what is left to say of an error, and gives the exit code for it.
func (p *program) code(err error) int {
	if err == nil {
		return 0
	}
	var exit *app.Exit
	if errors.As(err, &exit) {
		if exit.Err != nil {
			fmt.Fprintf(p.stderr, "%v\n", exit.Err)
		}
		return exit.Code
	}
	fmt.Fprintf(p.stderr, "postern: %v\n", err)
	return app.ExitSoftware
}

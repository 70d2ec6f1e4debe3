# Has SpamAssassin judge messages: it is loaded once, with its stock rules and plugins and none of anybody's
# preferences, and asked over standard input and output, a JSON object a line.
#
#   perl judge.pl ROOT STATE [LINE ...]  ROOT: where the packages are unpacked ("" for the system's); STATE: an empty folder; LINE: of rules
#
#   {"path": FILE}               -> {"score": N, "hits": {RULE: COUNT ...}}
#   {"path": FILE, "show": true} -> and the texts that rules of each kind see, in base64
#   {"path": FILE, "get": [SELECTOR ...]} -> and what each header selector gives, in base64, null for nothing
#   {"rules": true}              -> {"rules": {NAME: {"type", "text", "pattern", "score", "tflags", "priority"}}}
#   {"match": [{"rule": NAME, "text": BASE64} ...]} -> {"counts": [N ...]}: matches of the compiled pattern
#   {"settings": true}           -> {"plugins": [NAME ...], "set": N}
use strict;
use warnings;
use JSON::PP;
use MIME::Base64 qw(encode_base64 decode_base64);
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($root, $state, @lines) = @ARGV;
$ENV{TZ} = 'UTC';
binmode STDIN;
binmode STDOUT;
$| = 1;
my $json = JSON::PP->new->canonical->ascii;

my $sa = Mail::SpamAssassin->new({
    rules_filename       => "$root/usr/share/spamassassin",
    site_rules_filename  => "$root/etc/spamassassin",
    userprefs_filename   => '/dev/null',
    userstate_dir        => $state,
    home_dir_for_helpers => $state,
    LOCAL_STATE_DIR      => $state,
    local_tests_only     => 1,
    dont_copy_prefs      => 1,
    require_rules        => 1,
    post_config_text     => "use_bayes 0\nbayes_auto_learn 0\ntime_limit 0\nallow_user_rules 1\n" . join('', map { "$_\n" } @lines),
});
$sa->init(1);

# A pattern that holds what another rule has captured is compiled once, for the first message, and stays so: it is only right in a
# program that judges one message. Here it is compiled for each.
{
    no warnings 'redefine';
    my $add = \&Mail::SpamAssassin::Plugin::Check::add_evalstr;
    *Mail::SpamAssassin::Plugin::Check::add_evalstr = sub {
        my ($check, $status, $code) = @_;
        $code =~ s{(/\$test_qr/g?)op\b}{$1p}g if index($code, 'get_tag_raw') >= 0;
        return $add->($check, $status, $code);
    };
}
print $json->encode({ version => Mail::SpamAssassin::Version() }), "\n";

while (my $line = <STDIN>) {
    my $ask = $json->decode($line);
    my $answer = eval { answer($ask) } || { error => "$@" };
    print $json->encode($answer), "\n";
}

sub answer {
    my ($ask) = @_;
    return judge($ask) if defined $ask->{path};
    return { rules => rules() } if $ask->{rules};
    return { plugins => [ sort map { ref } @{ $sa->{plugins}->{plugins} } ], set => $sa->{conf}->get_score_set() } if $ask->{settings};
    return { counts => [ map { matches($_) } @{ $ask->{match} } ] } if $ask->{match};
    die "what is asked?\n";
}

sub judge {
    my ($ask) = @_;
    open my $in, '<:raw', $ask->{path} or die "$ask->{path}: $!\n";
    my $text = do { local $/; <$in> };
    close $in;
    my $mail = $sa->parse(\$text, 1);
    my $status = $sa->check($mail);
    my $hit = $status->{tests_already_hit};
    my %answer = (
        score => 0 + $status->get_score(),
        hits  => { map { $_ => 0 + $hit->{$_} } grep { $hit->{$_} } keys %$hit },
    );
    if ($ask->{show}) {
        my $uris = $status->get_uri_detail_list();
        $answer{show} = {
            body    => [ map { octets($_) } @{ $status->get_decoded_stripped_body_text_array() } ],
            rawbody => [ map { octets($_) } @{ $status->get_decoded_body_text_array() } ],
            full    => [ octets($mail->get_pristine()) ],
            uri     => [ map { octets($_) } sort $status->get_uri_list() ],
            html    => facts($status->{html}),
            detail  => { map { $_ => [ map { octets($_) } @{ $uris->{$_}->{cleaned} || [] } ] } keys %$uris },
            types   => { map { my $u = $_; $u => [ sort keys %{ $uris->{$u}->{types} || {} } ] } keys %$uris },
        };
    }
    if ($ask->{get}) {
        $answer{get} = { map { my $v = $status->get($_, undef); $_ => defined $v ? octets($v) : undef } @{ $ask->{get} } };
    }
    $status->finish();
    $mail->finish();
    return \%answer;
}

# What the HTML is like: plain values as they are, lists and tables one level deep.
sub facts {
    my ($html) = @_;
    return {} unless ref $html;
    my %facts;
    for my $k (keys %$html) {
        my $v = $html->{$k};
        if (ref $v eq 'HASH') { $facts{$k} = { map { octets($_) => octets(flat($v->{$_})) } keys %$v } }
        elsif (ref $v eq 'ARRAY') { $facts{$k} = [ map { octets(flat($_)) } @$v ] }
        elsif (!ref $v) { $facts{$k} = octets(flat($v)) }
    }
    return \%facts;
}

sub flat { my ($v) = @_; return defined $v ? (ref $v ? ref $v : "$v") : '' }

sub octets {
    my ($s) = @_;
    utf8::encode($s) if utf8::is_utf8($s);
    return encode_base64($s, '');
}

sub rules {
    my $c = $sa->{conf};
    my %all;
    for my $name (keys %{ $c->{tests} }) {
        my $test = $c->{tests}->{$name};
        $all{$name} = {
            type     => $Mail::SpamAssassin::Conf::TYPE_AS_STRING{ $c->{test_types}->{$name} } || $c->{test_types}->{$name},
            text     => octets(ref $test ? join(' ', map { flat($_) } @$test) : flat($test)),
            pattern  => octets(flat_pattern($c->{test_qrs}->{$name})),
            score    => $c->{scores}->{$name},
            tflags   => $c->{tflags}->{$name},
            priority => $c->{priority}->{$name},
        };
    }
    return \%all;
}

sub flat_pattern { my ($v) = @_; return defined $v ? "$v" : '' }

sub matches {
    my ($ask) = @_;
    my $pattern = $sa->{conf}->{test_qrs}->{ $ask->{rule} };
    return -1 unless defined $pattern;
    my $text = decode_base64($ask->{text});
    my $n = 0;
    while ($text =~ /$pattern/g) { last if ++$n >= 1000 }
    return $n;
}

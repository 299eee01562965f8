//! The field's usual words for each cause, as mail servers and providers say them.

use std::sync::LazyLock;

use super::words::{Pattern, Words};

/// Words that stand for each other.
const NAMES: &[(&str, &str)] = &[
    (
        "who",
        "user|users|username|userid|recipient|recipients|rcpt|mailbox|account|address|addresses|addressee|alias|mailaddress|\
         login|inbox|email|e-mail|person|customer|subscriber|localpart|@|destination|maildrop",
    ),
    (
        "box",
        "mailbox|mailboxes|inbox|account|user|recipient|recipient's|box|maildir|mailfolder|folder|mail|storage|disk|@|system",
    ),
    (
        "not",
        "not|no|isn't|isnt|wasn't|wasnt|aren't|doesn't|doesnt|don't|dont|didn't|cannot|can't|couldn't|could|never|n't",
    ),
    (
        "known",
        "known|exist|exists|found|valid|recognized|recognised|listed|present|registered|located|identified|hosted|defined|match|matched|existing",
    ),
    (
        "unknown",
        "unknown|invalid|nonexistent|inexistent|unexistent|nonexistant|undefined|illegal|bogus|undeliverable|unroutable|unrouteable|nosuchuser",
    ),
    (
        "off",
        "disabled|suspended|inactive|deactivated|discontinued|locked|frozen|blocked|closed|terminated|dormant|restricted|retired|expired|barred",
    ),
    ("sender", "sender|senders|sender's|mailfrom|originator"),
    ("host", "host|hostname|domain|domainname|domains|%"),
    ("later", "later|again|tomorrow"),
    ("big", "big|large|long|huge"),
    ("size", "size|length|limit|maximum|max|limits"),
];

/// Whom a message was refused for: its sender, what it says, or a rule. Never the address's fault.
const POLICY: &[&str] = &[
    "spam~|antispam|junk|unsolicited|uce|phish~|malware|virus~|infected|trojan|scam|mcspam~|mcmalware~",
    "blacklist~|blocklist~|blocklisted|denylist~|blackholed|whitelist~|graymail|banned|blacklisted",
    "black|block|deny|white list|listed",
    "blocked using|by|due|because|for|at|via|on|in|%",
    "rbl|dnsbl|uribl|surbl|spamhaus|spamcop|sorbs|cloudmark|senderscore|barracudacentral|cbl",
    "reputation|suspicious|abuse|abusive|fraud~|complaints|offensive|profanity",
    "policy|policies|polizei~|compliance",
    "spf|dkim|dmarc|domainkeys|senderid|adsp|bimi",
    "authentication|unauthenticated|authenticate|authenticated|authrequired|authorization",
    "not|un authorized|authorised|permitted|allowed|entitled",
    "unauthorized|unauthorised|prohibited|forbidden|prohibition",
    "permission|submission|connection|delivery denied",
    "denied by|for|due|because",
    "unable|cannot|can't|not|won't|no to? relay|relaying",
    "relay|relaying not|is",
    "insecure|open mail? relay",
    "$sender ? address|domain|name",
    "envelope|header from|sender",
    "from address|domain|header",
    "$sender * rejected|refused|denied|unknown|invalid|unverified|verify|verified|unroutable|unresolvable|forged|exist",
    "invalid|bad|unknown|unroutable|unrouteable|forged|missing|rejected|refuse|spoof~ ? sender|from|originator",
    "domain of sender",
    "mail from * rejected|refused|denied|not|domain",
    "your|sending|client|source|connecting|remote|sender|the ip",
    "your|sending|client sending? host|server|network|domain|provider|isp|mailer",
    "ip address? is|not|has|listed|blocked|banned|rejected|name|frequency|limited",
    "client host|ip|address",
    "mismatches client",
    "smtp server of your isp",
    "reverse dns|lookup|record|resolution|ip",
    "ptr|rdns|helo|ehlo|dynamic|dialup|residential",
    "dns ptr",
    "purported responsible",
    "recipient's|recipient|user's|user preferences|filter|filters|rules|blocking",
    "refused|rejected|blocked by|due|per recipient|user|rule|rules|filter|content",
    "restricted|authrequired|notauthorized|moderated|moderator",
    "only accepts|accept * from|members",
    "not accept~ * from|any",
    "permission|permissions|rights|allowed to post|send|submit|deliver",
    "may not exist or you",
    "message|mail|content|messages rejected|refused|denied|discarded|deleted",
    "content|rule|filter~ ? rejected|refused|reject|restriction~|filter~",
    "rejected|refused|denied|reject|blocked * content|spam|policy|filter|rule|attachment|administrator",
    "administrative~ prohibition|prohibited|denied|lock",
    "challenge|captcha|confirmation required|response",
    "encryption|tls|starttls required|needed|policy",
    "potential security|threat",
    "redundant",
    "unresolvable|resolvable domain|sender",
    "mail|message|email rejete|refuse|refused",
    "mail|service rejete",
    "bad|no|missing ? dns|ptr|mx records|record|resource",
    "not welcome|wanted",
    "too many|much ? complaints|spam",
    "rejet~|refusé|refusée",
    "abgelehnt|verweigert|unerwünscht",
];

/// The same, unless a server says clearly that it knows no such recipient: some add these to it.
const PERHAPS_POLICY: &[&str] = &[
    "blocked",
    "security",
    "access denied",
    "relay~ * denied|rejected|prohibited|disallowed|refused|forbidden",
    "relaying|relays",
];

/// The mailbox has no room now.
const FULL: &[&str] = &[
    "over|exceeded|exceeds|exceed|exceeding|above|beyond|reached|surpassed * quota|storage|allotment|diskspace",
    "quota * exceed~|full|reached|over|violation|violated|used|limit|exhausted",
    "quotaexceeded|overquota|mailboxfull|quotaexceededexception|storequotaexceeded~",
    "out of quota|storage|space|disk|room",
    "$box * full",
    "full|overfull|overfilled|overflow~ $box",
    "$box ? size|storage|space ? exceed~|limit|full|over",
    "$box * exceed~|exceeded|overflow~",
    "insufficient|no|not|low|enough|inadequate ? enough? disk|storage|space|room|quota",
    "not|no enough|sufficient|more|free ? space|storage|room|disk",
    "insufficient system|disk|mailbox? storage|space",
    "space|storage|disk * exceed~|left|exhausted|full|insufficient",
    "too many|much messages|mail|data * mailbox|inbox|box|queue|for",
    "larger than * mailbox",
    "boîte|boite|messagerie|bal|quota * pleine|saturée|saturee|dépassé|depasse",
    "postfach|mailbox|quota * voll|überfüllt|überschritten",
    "buzón|buzon|casilla|casella|caixa|cuenta * llen~|pien~|chei~|lotad~|superad~|excedid~",
    "переполнен~",
    "skrzynka * pełna|przepełniona",
];

/// The message cannot pass as it is: too large, badly made, or running in circles.
const MESSAGE: &[&str] = &[
    "message|mail|mails|size|file|data|header|headers|letter|attachment~|body|email|content * too ? $big",
    "too $big ? message|mail|file|size|header|letter|system",
    "message|mail|header|email|attachment size|length",
    "size|length ? exceed~|limit|too",
    "exceed~|exceeds|over * message|mail|fixed|maximum|administrative|allowed size|length|limit",
    "maximum|max|fixed ? message|mail? size|length",
    "line ? too long",
    "too many|much hops|received",
    "hop|hops count|limit|exceeded",
    "loop|loops|looping|mailloop",
    "duplicate|multiple|missing|invalid|malformed|bad|illegal|improper * header|headers|mime|boundary|addresses",
    "header|headers error|invalid|missing|malformed",
    "rfc ? compliant|compliance|violation|conform~|standard",
    "not|non rfc|compliant|conform~",
    "bare lf|cr|linefeed|newline",
    "malformed|unparseable ? message|mail|mime|from|date|address",
    "attachment~|executable|macro ? not|blocked|rejected|forbidden|removed|type",
    "8bitmime|smtputf8|binarymime",
    "conversion|not ? support~|supported",
    "syntax error|sequence",
    "command|commands|sequence not|of|out|unrecognized|rejected",
    "improper|bad|out|invalid ? sequence|syntax|command|parameter",
    "protocol error|violation",
];

/// It may go another time: nobody was in, too much at once, or the time ran out.
const LATER: &[&str] = &[
    "greylist~|graylist~|grey listed|greylisting",
    "try|retry|resend|come|send ? ? again? $later",
    "again|retry later|in|after",
    "temporar~|transient|momentarily|currently",
    "timed|time|timing out",
    "timeout|timeouts|timedout",
    "connection|connections|session|channel * refused|reset|lost|closed|dropped|limit~|rate|failed|exceeded|terminated|aborted|timed",
    "lost|no|refused|broken|failed ? connection|connect~",
    "did not accept our requests",
    "refused|unable|failed|cannot|could to connect|talk|contact|reach|establish",
    "too many|much|fast|quickly|frequent~ ? connection~|session~|recipient~|message~|mail~|rcpt~|error~|concurrent|request~|transaction~|bad|email~",
    "receiving mail|messages? too|at",
    "rate|frequency|volume|quota limit~|exceed~|limited|too|control|per",
    "throttl~|ratelimit~|deferred|deferral|defer|postponed|overload~|overloaded|busy|congest~|backlog~",
    "service|services|server|system|host|resource|resources|backend|upstream * unavailable|available|busy|down|refus~|respond~|responding|error|overload~|maintenance|failure|closing|shutting",
    "not|no respond~|responding|answer|answering|response|reachable|route",
    "unreachable|maintenance|shutdown",
    "network error|problem|unreachable|failure",
    "expired|expiration|lifetime|undelivered",
    "queue|queued too long|for|lifetime",
    "retry|retries time~|timeout|limit|exceeded|exhausted|count|not",
    "deliver~|delivered|send * for|within|after|last|past * hour~|day~|second~|minute~|days|attempts",
    "failed|tried ? attempts|times",
    "aborted after",
    "delayed|delay",
    "mailer|internal|system|local|configuration|config|lookup|database|ldap|software|processing|server|upstream|filesystem|io error|failure|failed|problem|misconfigur~",
    "couldn't|cannot|can't|could|unable|failed|not|to create|open|lock|write|read|append|execute|access|rename|chdir|stat|lookup|look",
    "out of memory",
    "no such file",
    "dns|mx|nameserver|name query|timeout|failure|error|fail~|servfail|tempfail",
    "lookup|resolution|resolve failure|failed|failing|timed|error",
    "service refuse",
    "essayer plus tard",
    "command failed|died",
    "maildir delivery|error|tempfail",
    "später",
    "reiniger~|intentar más|mas|luego",
];

/// Nobody knows yet: another question may have another answer.
const NOT_NOW: &[&str] = &[
    "not found try again",
    "try|retry|come ? ? again? later",
    "temporar~|transient|servfail|tempfail",
    "lookup|resolution|query|name * timed|timeout|incomplete|failure try",
    "did not complete",
    "deferred|delayed|greylist~|graylist~",
];

/// The domain does not exist, or takes no mail at all.
const NO_DOMAIN: &[&str] = &[
    "$host %? is|was|name? unknown|nonexistent|invalid|nxdomain|unresolvable",
    "host|hostname|domain or? domain? name? %? not|n't be? found|known|exist|exists|resolved|resolve|valid",
    "$host name? %? ? does|do|did|could|can|is|was|couldn't|doesn't|don't|cannot|can't not? be? found|exist|resolve|existing|resolved",
    "unknown|nonexistent|invalid|unresolvable|illegal|bogus|misspelled|bad mail|recipient|destination|remote? host|hostname|domain|domains",
    "no such domain|host|hostname",
    "nxdomain",
    "null mx",
    "no smtp|mail service|server|servers|exchanger|exchangers|host",
    "$host %? does? not|doesn't|don't|no longer? accept|receive|handle|accepts|accepting|want|process mail|email|e|any|messages",
    "unrouteable|unroutable mail? address|domain|mail",
    "couldn't|could|cannot|can't|unable|not|to find|locate|resolve|get ? ? mail? mx|host|domain|exchanger|hostname",
    "no|missing|without|bad ? ? mx|mail? exchanger|exchange|exchangers ? record~|found|for|host~",
    "mx|a records|record ? ? not|no|found|exist|missing|point~",
    "domain|host is? ? not? unreachable|reachable",
    "name or service not known",
    "malformed or unexpected name server reply",
    "domaine|domäne|dominio|domínio * inconnu|inexistant|unbekannt|inexistente|desconocido|inesistente",
];

/// The mailbox is there, and closed: perhaps it opens again.
const CLOSED: &[&str] = &[
    "$who * $off",
    "account|mailbox|user|recipient|address has|is|was|been * $off",
    "$off ? $who",
    "mailbox|account|user|recipient|address ? ? not|n't|isn't ? active|activated|enabled|accepting",
    "account|mailbox|address|user * tried|trying to reach * $off",
    "no longer active|accept~|accepting|enabled",
    "not accepting|accept mail|email|messages|new|any|more",
    "not|isn't currently|presently active|accepting",
    "on hold|vacation",
];

/// Nobody has that mailbox, in words that only a look into the directory of recipients produces.
const NOT_LISTED: &[&str] = &[
    "not|isn't|unknown|n't listed|found|in ? ? directory|recipients|table",
    "not listed in",
    "unknown in * table|maps",
    "name * not|n't recognized|recognised",
    "unknown recipient",
    "recipnotfound|recipientnotfound|recipientunknown|nosuchuser",
    "account * tried to reach * exist|found",
    "$who * wasn't|couldn't|isn't|could|was|cannot not? be? found",
    "recipient|user|address|account|mailbox not found by|at|in|on",
];

/// Nobody has that mailbox, in the usual words.
const NO_MAILBOX: &[&str] = &[
    "$who ? ? $unknown",
    "$who * is|are|was|has|name|address ? $unknown",
    "$who * $not ? ? $known",
    "$who not $known|here|local|available|our",
    "$unknown|no|bad|incorrect|wrong|nosuch|nonexisting ? $who",
    "$unknown|bad|no ? or? ? $who",
    "no such ? ? $who|person|name|mail",
    "no mail? mailbox|box|user|account|recipient|one|person|inbox * here|by|with|for|found|name|available",
    "doesn't|does|do|don't|not * have * account|mailbox|inbox|user",
    "$not ? a|an|our ? ? ? user|account|mailbox|recipient|address|customer|subscriber|addressee",
    "unknown|invalid local part|localpart",
    "local part unknown|invalid",
    "$who * moved|gone|obsolete|deleted|removed|purged|canceled|cancelled|abandoned|vacated|changed",
    "deleted|removed|obsolete|abandoned|old $who",
    "no longer ? ? here|on|at|exist~|valid|available|use|used|with|works|employed|an|a|existing",
    "left the|our company|organization|organisation",
    "unknown or illegal|invalid",
    "invalid|unknown or unknown|invalid|illegal",
    "$who|utilisateur|adresse|destinataire|compte|boîte|boite * inconnu~|inexistant~|invalide|n'existe|inexistante",
    "inconnu|inconnue à|a|cette",
    "empfänger|empfaenger|benutzer|adresse|konto|postfach|empfängeradresse|mailbox * unbekannt|existiert|ungültig|ungueltig|gefunden|nicht",
    "usuario|destinatario|cuenta|buzón|buzon|dirección|direccion * desconocid~|existe|inexistente|inválid~|encontrad~",
    "utente|destinatario|indirizzo|casella|destin * sconosciut~|inesistente|errat~|esiste",
    "sconosciuto",
    "usuário|usuario|destinatário|destinatario|conta|endereço * desconhecid~|inexistente|existe|inválid~",
    "nie istnieje|ma",
    "onbekende|onbekend gebruiker|ontvanger|adres",
    "gebruiker|ontvanger|adres * onbekend",
    "ukendt|okänd|ukjent|tuntematon modtager|mottagare|bruker|användare|vastaanottaja",
    "пользователь|получатель|адрес|ящик|почтовый * найден|существует|неизвестен|зарегистрирован",
    "нет|неизвестный такого|пользователь|получатель",
];

/// The address was refused, and that is all that was said.
const REFUSED: &[&str] = &["recipient|address address? rejected|refused", "rejected|refused ? recipient|address"];

/// Japanese and Chinese put no space between words.
const NO_MAILBOX_UNSPACED: &[&str] = &[
    "用户不存在",
    "用戶不存在",
    "收件人不存在",
    "邮箱不存在",
    "帐号不存在",
    "宛先が存在しません",
    "アドレスが存在しません",
];
const FULL_UNSPACED: &[&str] = &["邮箱已满", "郵箱已滿", "容量を超え", "容量オーバー", "満杯", "いっぱい"];

/// Links to who keeps lists of senders: an answer may be nothing else.
const LISTS: &[&str] = &[
    "spamhaus",
    "spamcop",
    "sorbs",
    "barracuda",
    "senderbase",
    "senderscore",
    "uribl",
    "surbl",
    "dnsbl",
    "/rbl",
    "proofpoint",
];

/// What the words of an answer are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Policy,
    PerhapsPolicy,
    Full,
    Message,
    NotNow,
    Later,
    NoDomain,
    Closed,
    NotListed,
    NoMailbox,
    Refused,
}

/// In the order in which they are asked: whatever casts doubt comes before what suppresses.
static THEMES: LazyLock<Vec<(Theme, Vec<Pattern>)>> = LazyLock::new(|| {
    let compile = |phrases: &[&'static str]| phrases.iter().map(|text| Pattern::new(text, NAMES)).collect();
    vec![
        (Theme::Policy, compile(POLICY)),
        (Theme::PerhapsPolicy, compile(PERHAPS_POLICY)),
        (Theme::Full, compile(FULL)),
        (Theme::Message, compile(MESSAGE)),
        (Theme::NotNow, compile(NOT_NOW)),
        (Theme::NoDomain, compile(NO_DOMAIN)),
        (Theme::NotListed, compile(NOT_LISTED)),
        (Theme::Closed, compile(CLOSED)),
        (Theme::Later, compile(LATER)),
        (Theme::NoMailbox, compile(NO_MAILBOX)),
        (Theme::Refused, compile(REFUSED)),
    ]
});

/// Every theme of a text, the weightiest first.
pub(super) fn themes(text: &str) -> Vec<Theme> {
    // Postfix adds "(in reply to RCPT TO command)": "not found in reply" names no directory.
    let words = Words::of(&text.replace("(in reply to", "(reply to"));
    let holds = |unspaced: &[&str]| unspaced.iter().any(|phrase| text.contains(phrase));
    let about = |theme: &Theme| match theme {
        Theme::Policy => names_a_list(text),
        Theme::Full => holds(FULL_UNSPACED),
        Theme::NoMailbox => holds(NO_MAILBOX_UNSPACED),
        _ => false,
    };
    let found = |(theme, patterns): &(Theme, Vec<Pattern>)| {
        (patterns.iter().any(|pattern| pattern.is_in(&words)) || about(theme)).then_some(*theme)
    };
    THEMES.iter().filter_map(found).collect()
}

fn names_a_list(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.split_whitespace().filter(|word| word.contains("://")).any(|link| LISTS.iter().any(|list| link.contains(list)))
}

/// Whether there is nothing to read but addresses, links and codes.
pub(super) fn says_nothing(text: &str) -> bool {
    Words::of(text).is_empty()
}

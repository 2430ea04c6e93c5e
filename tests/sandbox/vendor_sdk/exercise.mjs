// Runs the vendor's published client, as it is, against an address, and prints what came back as JSON.
// Argument: JSON of address, token, clientId, clientSecret.
import { v1, v2 } from "pipedrive";

const { address, token, clientId, clientSecret } = JSON.parse(process.argv[2]);
const callback = "https://app.example.com/callback";
const condition = (field) => ({ object: "lead", field_id: field, operator: "IS NOT NULL", value: null });

// The same calls must work for whoever is logged in: by API token, by OAuth.
function client(first, second) {
  const of = (version, configuration) => (name) => new version[`${name}Api`](configuration);
  const one = of(v1, first), two = of(v2, second);
  return {
    leads: one("Leads"), labels: one("LeadLabels"), sources: one("LeadSources"), leadFields: one("LeadFields"),
    dealFields: one("DealFields"), users: one("Users"), notes: one("Notes"), filters: one("Filters"),
    webhooks: one("Webhooks"), persons: two("Persons"), organizations: two("Organizations"), deals: two("Deals"),
    search: two("ItemSearch"), leadsV2: two("Leads"), dealFieldsV2: two("DealFields"),
  };
}

// What the API refuses, the client throws as the body of the reply.
async function refusal(promise) {
  return promise.then((reply) => ({ notRefused: reply }), (body) => body);
}

// Search lags behind writes and conversions take their time: look again until there is something to see.
async function eventually(look, seen) {
  for (;;) {
    const reply = await look();
    if (seen(reply)) return reply;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function pages(list, limit) {
  const rows = [];
  for (let start = 0; ;) {
    const { data, additional_data } = await list({ start, limit, sort: "add_time ASC" });
    rows.push(...(data ?? []));
    const page = additional_data.pagination ?? additional_data;
    if (!page.more_items_in_collection) return rows;
    start = page.next_start ?? start + limit;
  }
}

async function contacts(api) {
  const organization = (await api.organizations.addOrganization({ AddOrganizationRequest: { name: "Vendor GmbH" } })).data;
  const person = (await api.persons.addPerson({
    AddPersonRequest: {
      name: "Vera Dor", org_id: organization.id,
      emails: [{ value: "vera@vendor.example", primary: true, label: "work" }],
    },
  })).data;
  return {
    organization, person,
    foundPerson: await eventually(
      () => api.persons.searchPersons({ term: "vera@vendor.example", fields: "email", exact_match: true }),
      (reply) => reply.data.items.length > 0,
    ),
    foundOrganization: await eventually(
      () => api.organizations.searchOrganization({ term: "Vendor GmbH" }), (reply) => reply.data.items.length > 0,
    ),
    renamedPerson: await api.persons.updatePerson({ id: person.id, UpdatePersonRequest: { name: "Vera Door" } }),
    renamedOrganization: await api.organizations.updateOrganization({
      id: organization.id, UpdateOrganizationRequest: { name: "Vendor AG" },
    }),
    onePerson: await api.persons.getPerson({ id: person.id }),
    oneOrganization: await api.organizations.getOrganization({ id: organization.id }),
    persons: await api.persons.getPersons({ org_id: organization.id, sort_by: "add_time", sort_direction: "desc" }),
    organizations: await api.organizations.getOrganizations({ limit: 1 }),
  };
}

async function goneContacts(api) {
  const organization = (await api.organizations.addOrganization({ AddOrganizationRequest: { name: "Gone" } })).data;
  const person = (await api.persons.addPerson({ AddPersonRequest: { name: "Gone" } })).data;
  return {
    ids: [person.id, organization.id],
    person: await api.persons.deletePerson({ id: person.id }),
    organization: await api.organizations.deleteOrganization({ id: organization.id }),
  };
}

async function labels(api) {
  const label = (await api.labels.addLeadLabel({ AddLeadLabelRequest: { name: "Vendor", color: "purple" } })).data;
  const spare = (await api.labels.addLeadLabel({ AddLeadLabelRequest: { name: "Spare", color: "gray" } })).data;
  return {
    label, spare,
    renamed: await api.labels.updateLeadLabel({ id: label.id, UpdateLeadLabelRequest: { name: "Vendors" } }),
    deleted: await api.labels.deleteLeadLabel({ id: spare.id }),
    list: await api.labels.getLeadLabels(),
    sources: await api.sources.getLeadSources(),
  };
}

async function fields(api) {
  const money = (await api.dealFields.addDealField({
    CreateFieldRequest: { name: "Vendor money", field_type: "monetary" },
  })).data;
  const choice = (await api.dealFieldsV2.addDealField({
    AddDealFieldRequest: { field_name: "Vendor choice", field_type: "enum", options: [{ label: "A" }, { label: "B" }] },
  })).data;
  const spare = (await api.dealFieldsV2.addDealField({
    AddDealFieldRequest: { field_name: "Vendor spare", field_type: "text" },
  })).data;
  return {
    money, choice,
    renamed: await api.dealFieldsV2.updateDealField({
      field_code: spare.field_code, UpdateDealFieldRequest: { field_name: "Vendor spares" },
    }),
    deleted: await api.dealFieldsV2.deleteDealField({ field_code: spare.field_code }),
    one: await api.dealFields.getDealField({ id: money.id }),
    oneV2: await api.dealFieldsV2.getDealField({ field_code: choice.field_code }),
    lead: await pages((window) => api.leadFields.getLeadFields(window), 30),
    deal: await pages((window) => api.dealFields.getDealFields(window), 500),
    dealV2: await api.dealFieldsV2.getDealFields({ limit: 500 }),
  };
}

async function leads(api, person, organization, label, money, choice) {
  const added = (await api.leads.addLead({
    AddLeadRequest: {
      title: "From the vendor's client", person_id: person, organization_id: organization, label_ids: [label],
      value: { amount: 1250.5, currency: "EUR" }, expected_close_date: "2027-01-31", was_seen: true,
      visible_to: "3", origin_id: "vendor-1",
      [money]: 99.5, [`${money}_currency`]: "USD", [choice.field_code]: String(choice.options[0].id),
    },
  })).data;
  const id = added.id;
  const changed = await api.leads.updateLead({
    id, UpdateLeadRequest: { title: "Changed", value: null, label_ids: [label], [choice.field_code]: null },
  });
  const archived = await api.leads.updateLead({ id, UpdateLeadRequest: { is_archived: true } });
  const archivedList = await pages((window) => api.leads.getArchivedLeads({ ...window, person_id: person }), 100);
  const restored = await api.leads.updateLead({ id, UpdateLeadRequest: { is_archived: false } });
  const spare = (await api.leads.addLead({ AddLeadRequest: { title: "Spare", organization_id: organization } })).data;
  return {
    added, changed, archived, archivedList, restored,
    one: await api.leads.getLead({ id }),
    users: await api.leads.getLeadUsers({ id }),
    deleted: await api.leads.deleteLead({ id: spare.id }),
    gone: await refusal(api.leads.getLead({ id: spare.id })),
    withoutContact: await refusal(api.leads.addLead({ AddLeadRequest: { title: "Nobody's" } })),
    all: (await pages((window) => api.leads.getLeads(window), 7)).map((lead) => lead.id),
    atOnce: (await api.leads.getLeads({ limit: 500, sort: "add_time ASC" })).data.map((lead) => lead.id),
    since: (await api.leads.getLeads({ updated_since: added.add_time.slice(0, 19) + "Z" })).data.map((lead) => lead.id),
    ofPerson: await api.leads.getLeads({ person_id: person }),
  };
}

async function notes(api, lead) {
  const note = (await api.notes.addNote({
    AddNoteRequest: { content: "<b>Xylophones</b> wanted", lead_id: lead, pinned_to_lead_flag: 1 },
  })).data;
  return {
    note,
    list: await api.notes.getNotes({ lead_id: lead, pinned_to_lead_flag: 1 }),
    changed: await api.notes.updateNote({ id: note.id, NoteRequest: { content: "Xylophones no more" } }),
    one: await api.notes.getNote({ id: note.id }),
    deleted: await api.notes.deleteNote({ id: note.id }),
  };
}

async function filters(api, lead) {
  const added = (await api.filters.addFilter({
    AddFilterRequest: {
      name: "Vendor filter", type: "leads",
      conditions: { glue: "and", conditions: [{ glue: "and", conditions: [condition("person_id")] }] },
    },
  })).data;
  const kept = (await api.leads.getLeads({ filter_id: added.id, limit: 500 })).data.map((each) => each.id);
  return {
    added, keptTheLead: kept.includes(lead),
    changed: await api.filters.updateFilter({ id: added.id, UpdateFilterRequest: { name: "Vendor filter 2" } }),
    one: await api.filters.getFilter({ id: added.id, include_field_code: true }),
    list: await api.filters.getFilters({ type: "leads" }),
    helpers: await api.filters.getFilterHelpers(),
    deleted: await api.filters.deleteFilter({ id: added.id }),
  };
}

async function webhooks(api) {
  const added = (await api.webhooks.addWebhook({
    AddWebhookRequest: {
      subscription_url: "http://127.0.0.1:9/hook", event_action: "change", event_object: "lead", name: "Vendor hook",
    },
  })).data;
  return {
    added,
    list: await api.webhooks.getWebhooks(),
    deleted: await api.webhooks.deleteWebhook({ id: added.id }),
    gone: await refusal(api.webhooks.deleteWebhook({ id: added.id })),
  };
}

async function searches(api, lead, title) {
  const found = (reply) => reply.data.items.some(({ item }) => item.id === lead);
  const foundByField = (reply) => reply.data.some(({ item }) => item.id === lead);
  return {
    v1: await eventually(() => api.leads.searchLeads({ term: title, fields: "title" }), found),
    v2: await eventually(() => api.leadsV2.searchLeads({ term: title, include_fields: "lead.was_seen" }), found),
    items: await eventually(() => api.search.searchItem({ term: title, item_types: "lead" }), found),
    byField: await eventually(
      () => api.search.searchItemByField({ term: title, entity_type: "lead", field: "title" }), foundByField,
    ),
  };
}

async function conversions(api, lead) {
  const done = (reply) => !["not_started", "running"].includes(reply.data.status);
  const convert = async (id) => {
    const begun = await api.leadsV2.convertLeadToDeal({ id });
    const status = { id, conversion_id: begun.data.conversion_id };
    return [begun, await eventually(() => api.leadsV2.getLeadConversionStatus(status), done)];
  };
  const [begun, converted] = await convert(lead);
  const gone = await refusal(api.leads.getLead({ id: lead }));
  const deal = await api.deals.getDeal({ id: converted.data.deal_id, include_fields: "source_lead_id" });
  const deals = await api.deals.getDeals({ person_id: deal.data.person_id });
  const archive = (is_archived) => api.deals.updateDeal({ id: deal.data.id, UpdateDealRequest: { is_archived } });
  const shelved = await archive(true);
  const archivedDeals = await api.deals.getArchivedDeals({ person_id: deal.data.person_id });
  await archive(false);
  const back = await api.deals.convertDealToLead({ id: deal.data.id });
  const again = { id: deal.data.id, conversion_id: back.data.conversion_id };
  const returned = await eventually(() => api.deals.getDealConversionStatus(again), done);
  const returnedLead = await api.leads.getLead({ id: returned.data.lead_id });
  const [, second] = await convert(returned.data.lead_id);
  return {
    begun, converted, gone, deal, deals, shelved, archivedDeals, back, returned, second,
    lead: returnedLead,
    deleted: await api.deals.deleteDeal({ id: second.data.deal_id }),
    unknown: await refusal(api.leadsV2.convertLeadToDeal({ id: lead })),
  };
}

async function oauth() {
  const settings = { clientId, clientSecret, redirectUri: callback, host: address };
  const [first, second] = [new v1.OAuth2Configuration(settings), new v2.OAuth2Configuration(settings)];
  const consent = await fetch(first.authorizationUrl, { redirect: "manual" });
  const code = new URL(consent.headers.get("location")).searchParams.get("code");
  const authorized = await first.authorize(code);
  // As an app does that kept the token: the access token is too old, the client must fetch another by itself.
  second.updateToken({ ...authorized, access_token: "too old", expires_in: -1 });
  const api = client(
    { accessToken: first.getAccessToken, basePath: first.basePath },
    { accessToken: second.getAccessToken, basePath: second.basePath },
  );
  const lead = (await api.leads.addLead({ AddLeadRequest: { title: "From an app", person_id: 1 } })).data;
  const result = {
    tokenType: authorized.token_type, expiresIn: authorized.expires_in,
    basePaths: [first.basePath, second.basePath],
    spentCode: await refusal(new v1.OAuth2Configuration(settings).authorize(code)),
    me: (await api.users.getCurrentUser()).data,
    lead,
    page: (await api.leads.getLeads({ limit: 2 })).data.length,
    deleted: await api.leads.deleteLead({ id: lead.id }),
    persons: (await api.persons.getPersons({ limit: 1 })).data.length,
    refreshed: second.accessToken !== "too old" && second.refreshToken === first.refreshToken,
  };
  await first.revokeToken("access_token");
  result.revokedAccess = await refusal(api.users.getCurrentUser());
  await first.tokenRefresh();
  result.afterRefresh = (await api.users.getCurrentUser()).data.id;
  await first.revokeToken("refresh_token");
  result.uninstalled = await refusal(first.tokenRefresh());
  result.revokedAll = await refusal(api.persons.getPersons({ limit: 1 }));
  return result;
}

async function main() {
  const api = client(
    new v1.Configuration({ apiKey: token, basePath: `${address}/v1` }),
    new v2.Configuration({ apiKey: token, basePath: `${address}/api/v2` }),
  );
  const results = { me: await api.users.getCurrentUser(), users: await api.users.getUsers() };
  const stranger = new v1.UsersApi(new v1.Configuration({ apiKey: "0".repeat(40), basePath: `${address}/v1` }));
  results.stranger = await refusal(stranger.getCurrentUser());
  results.contacts = await contacts(api);
  results.goneContacts = await goneContacts(api);
  results.labels = await labels(api);
  results.fields = await fields(api);
  const { person, organization } = results.contacts;
  const { money, choice } = results.fields;
  results.leads = await leads(api, person.id, organization.id, results.labels.label.id, money.key, choice);
  const lead = results.leads.added.id;
  results.notes = await notes(api, lead);
  results.filters = await filters(api, lead);
  results.webhooks = await webhooks(api);
  results.searches = await searches(api, lead, "Changed");
  results.conversions = await conversions(api, lead);
  results.oauth = await oauth();
  return results;
}

main().then(
  (results) => process.stdout.write(JSON.stringify(results)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);

-- Makes `taskwire`, the role of the application: it may log in and is no superuser. To be run by a superuser in any database of the server;
-- changes nothing when it is run again. There is no empty line after a semicolon: PostgreSQL's single-user mode ends a command there.
do $$
begin
  -- Earlier versions made the server with `taskwire` as its first role, which must stay superuser (its oid is 10): it gets another
  -- name. A session cannot rename its own role, so another role does it.
  if exists (select from pg_roles where oid = 10 and rolname = 'taskwire') then
    create role taskwire_renames superuser;
    set session authorization taskwire_renames;
    alter role taskwire rename to taskwire_superuser;
    set session authorization taskwire_superuser;
    drop role taskwire_renames;
  end if;
  if not exists (select from pg_roles where rolname = 'taskwire') then
    create role taskwire;
  end if;
  alter role taskwire login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
end $$;
